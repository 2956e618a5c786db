"""Archives that are not what they say: one clear error, and the store as it was."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable

import pytest

from support import tars
from support.engines import Engine
from support.rootfs import busybox_tar

from .conftest import returns_to, settled


def docker_archive(*, layer: bytes | None = None, diff_id: str | None = None, **manifest: object) -> bytes:
    layer = busybox_tar() if layer is None else layer
    named = diff_id or "sha256:" + hashlib.sha256(layer).hexdigest()
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [named]}, "config": {}}
    entry = {"Config": "config.json", "RepoTags": ["bad:latest"], "Layers": ["layer.tar"], **manifest}
    return tars.files(**{"config.json": json.dumps(config), "layer.tar": layer, "manifest.json": json.dumps([entry])})


BAD: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "not a tar": lambda: b"this is no archive" * 1000,
    "no manifest": lambda: tars.files(something="else"),
    "truncated": lambda: docker_archive()[: 900 * 1024],
    "truncated gzip": lambda: gzip.compress(docker_archive(), 1)[:-2000],
    "damaged gzip": lambda: (lambda data: data[:50_000] + b"\0" * 64 + data[50_064:])(
        gzip.compress(docker_archive(), 1)
    ),
    "another diff id": lambda: docker_archive(diff_id="sha256:" + "0" * 64),
    "a diff id that is a path": lambda: docker_archive(diff_id="sha256:../../../../tmp/x"),
    "a layer that is no tar": lambda: docker_archive(layer=b"\1" * 4096),
    "a config outside": lambda: docker_archive(Config="../../../etc/passwd"),
    "a layer outside": lambda: docker_archive(Layers=["/etc/passwd"]),
    "a tag that is none": lambda: docker_archive(RepoTags=["../UPPER:???"]),
    "a manifest that is no list": lambda: tars.files(**{"manifest.json": b'{"Config": 5}'}),
    "a manifest of a million brackets": lambda: tars.files(**{"manifest.json": b"[" * 1_000_000}),
    "an escape by name": lambda: docker_archive(layer=tars.files(**{"../../escaped": b"x"})),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_archive_is_one_error_and_leaves_nothing(engine: Engine, busybox: str, kind: str) -> None:
    before, images = settled(engine), engine.docker("images", "-aq", "--no-trunc").stdout
    done = engine.docker("load", stdin=BAD[kind](), text=False, check=False)
    said = done.stderr.decode().strip()
    assert done.returncode == 1, done.stdout
    assert said
    assert "\n" not in said
    assert "Traceback" not in said
    assert engine.docker("images", "-aq", "--no-trunc").stdout == images
    returns_to(engine, before, "nothing to be left")
    assert engine.docker("run", "--rm", busybox, "echo", "still works").stdout == "still works\n"


def test_the_good_archive_of_the_same_making_is_loaded(engine: Engine) -> None:
    # The control: what the cases above change is what makes them bad.
    assert "Loaded image: bad:latest" in engine.docker("load", stdin=docker_archive(), text=False).stdout.decode()
    assert engine.docker("run", "--rm", "bad", "/bin/echo", "good").stdout == "good\n"
    engine.docker("rmi", "-f", "bad")


def test_a_client_that_vanishes_while_it_sends_an_image_leaves_nothing(engine: Engine, busybox: str) -> None:
    import socket

    before = settled(engine)
    data = docker_archive()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(engine.socket))
        head = f"POST /v1.41/images/load HTTP/1.1\r\nHost: d\r\nContent-Length: {len(data)}\r\n\r\n"
        client.sendall(head.encode() + data[: len(data) // 2])
    returns_to(engine, before, "the half-sent image to vanish")
