"""Images that were made to harm: what their configuration says, and what lies in their layers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from support import tars
from support.engines import Engine
from support.rootfs import busybox_tar

from .conftest import Marker
from .test_names import ask

LONG = "x" * 1_000_000


def image(config: Any, layers: tuple[bytes, ...] = (), **document: Any) -> bytes:
    """A `docker load` archive of busybox with these layers on top, which says of itself what it likes."""
    blobs = [busybox_tar(), *layers]
    ids = ["sha256:" + hashlib.sha256(blob).hexdigest() for blob in blobs]
    whole = {"architecture": "amd64", "os": "linux", "config": config, "rootfs": {"type": "layers", "diff_ids": ids}}
    names = [f"{number}.tar" for number in range(len(blobs))]
    entry = {"Config": "config.json", "RepoTags": ["hostile:latest"], "Layers": names}
    members = dict(zip(names, blobs, strict=True))
    texts = {"config.json": json.dumps({**whole, **document}), "manifest.json": json.dumps([entry])}
    return tars.files(**texts, **members)


@pytest.fixture(autouse=True)
def no_hostile_image(engine: Engine) -> Iterator[None]:
    yield
    engine.remove_containers()
    engine.docker("rmi", "-f", "hostile", check=False)


CONFIGS: dict[str, dict[str, Any]] = {
    "variables without names": {"Env": ["=x", "A", "", "A=\x00", LONG]},
    "variables that are no list": {"Env": {"A": "b"}},
    "the users of another world": {"User": "root:4294967296"},
    "a user of 2**64": {"User": "18446744073709551616"},
    "a user of two lines": {"User": "root\nevil"},
    "a user with a NUL": {"User": "root\x00"},
    "a directory of the engine's": {"WorkingDir": "/proc/self/fd/7/../../.."},
    "a directory above": {"WorkingDir": "../../../../tmp"},
    "a directory without end": {"WorkingDir": "/" + "a/" * 5000},
    "a directory with a NUL": {"WorkingDir": "/\x00"},
    "volumes over the kernel's": {"Volumes": {"/proc": {}}},
    "volumes above": {"Volumes": {"/../../etc": {}, "../x": {}, "": {}, "/a\n": {}}},
    "three hundred volumes": {"Volumes": {f"/v/{number}": {} for number in range(300)}},
    "ports that are none": {"ExposedPorts": {"99999/tcp": {}, "80/evil": {}, "\n/tcp": {}, "-1": {}}},
    "all ports": {"ExposedPorts": {"1-65535/tcp": {}}},
    "a command of commands": {"Cmd": ["sh", "-c", "echo $(id) `id`"], "Entrypoint": ["\x1b]0;x\x07"]},
    "a command that is a word": {"Cmd": "true"},
    "a command with a NUL": {"Cmd": ["a\x00b"]},
    "a check in the past": {"Healthcheck": {"Test": ["CMD", "true"], "Interval": -1, "Timeout": -5, "Retries": -3}},
    "a check of the far future": {"Healthcheck": {"Test": ["CMD", "true"], "Interval": 2**63 - 1, "Retries": 2**62}},
    "a check of 2**70": {"Healthcheck": {"Test": ["CMD", "true"], "Interval": 2**70}},
    "a check of no kind": {"Healthcheck": {"Test": ["EVIL", "\x00"]}},
    "a signal and more": {"StopSignal": "SIGKILL; reboot", "StopTimeout": -(2**31)},
    "a signal beyond all": {"StopSignal": "99999"},
    "labels of a megabyte": {"Labels": {LONG: "x", "\n": "\x00", "a=b": "\u202e"}},
    "labels that are numbers": {"Labels": {"a": 1}},
    "a trigger to another image": {"OnBuild": ["FROM scratch", "RUN id\nRUN id", "\x00"]},
    "a shell of its own": {
        "Shell": ["\x00", "/bin/sh"],
        "ArgsEscaped": True,
        "Hostname": "a b\n",
        "Domainname": "\x00",
    },
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_configuration_is_used_or_refused_and_nothing_breaks(engine: Engine, kind: str, marker: Marker) -> None:
    loaded = engine.docker("load", stdin=image(CONFIGS[kind]), check=False, text=False)
    said = loaded.stdout + loaded.stderr
    if b"Loaded image" in said:
        for arguments in (
            ["run", "--rm", "hostile"],
            ["run", "--rm", "-P", "--entrypoint", "/bin/true", "hostile"],
            ["inspect", "hostile"],
            ["history", "hostile"],
            ["build", "-q", "-"],
        ):
            stdin = b"FROM hostile\nRUN true\n" if arguments[0] == "build" else None
            done = engine.docker(*arguments, stdin=stdin, check=False, text=False)
            said += done.stdout + done.stderr
    assert b"internal error" not in said, said[-2000:]
    assert b"uid=" not in said
    assert "Traceback" not in engine.log
    assert ask(engine, "GET", "/v1.43/containers/json?all=1")[0] == 200
    assert ask(engine, "GET", "/v1.43/images/json")[0] == 200


DOCUMENTS: dict[str, dict[str, Any]] = {
    "another system": {"os": "windows", "architecture": "../../x"},
    "a date of no calendar": {"created": "yesterday <b>"},
    "a history without end": {"history": [{"created_by": LONG, "comment": "\x1b[2J", "created": "9999-99-99"}] * 20},
    "a history of others": {"history": [5, None]},
    "layers it has not": {"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64] * 3}},
    "no layers": {"rootfs": None},
    "no configuration": {"config": None},
    "a configuration of one word": {"config": "true"},
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_document_is_used_or_refused_and_nothing_breaks(engine: Engine, kind: str) -> None:
    document = dict(DOCUMENTS[kind])
    loaded = engine.docker("load", stdin=image(document.pop("config", {}), **document), check=False, text=False)
    said = loaded.stdout + loaded.stderr
    if b"Loaded image" in said:
        for arguments in (["run", "--rm", "hostile", "/bin/true"], ["inspect", "hostile"], ["history", "hostile"]):
            done = engine.docker(*arguments, check=False, text=False)
            said += done.stdout + done.stderr
    assert b"internal error" not in said, said[-2000:]
    assert "Traceback" not in engine.log
    assert ask(engine, "GET", "/v1.43/images/json")[0] == 200


def test_a_harmless_image_of_the_same_making_runs(engine: Engine) -> None:
    # The control.
    engine.docker("load", stdin=image({"Env": ["A=b"], "Cmd": ["sh", "-c", "echo $A"]}), text=False)
    assert engine.docker("run", "--rm", "hostile").stdout == "b\n"


def test_nodes_of_the_hosts_devices_in_a_layer_open_nothing(engine: Engine) -> None:
    nodes = {"mem": (1, 1), "kmsg": (1, 11), "console": (5, 1), "loop": (7, 0), "zero": (1, 5)}
    members = [
        tars.member(f"nodes/{name}", "block" if name == "loop" else "char", devmajor=major, devminor=minor, mode=0o666)
        for name, (major, minor) in nodes.items()
    ]
    engine.docker("load", stdin=image({}, (tars.tar(members),)), text=False)
    script = "for n in /nodes/*; do (: < $n) 2> /dev/null && echo $n; (: > $n) 2> /dev/null && echo $n; done"
    said = engine.docker("run", "--rm", "hostile", "sh", "-c", script).stdout.split()
    assert set(said) == {"/nodes/zero"}  # the control: that one may be opened


def test_hard_links_of_a_layer_do_not_reach_the_host(engine: Engine, marker: Marker) -> None:
    path = str(marker.path).lstrip("/")
    for target in (f"/{path}", "../" * 20 + path, f"out/{path}"):
        members = tars.member("out", "symlink", "/"), tars.member("hard", "link", target)
        evil = tars.tar([*members, tars.member("hard", "file", "owned")])
        engine.docker("load", stdin=image({}, (evil,)), check=False, text=False)
        engine.docker("run", "--rm", "hostile", "sh", "-c", "cat /hard; echo owned > /hard", check=False)
        marker.check()


def test_marks_of_overlayfs_in_a_layer_are_not_taken(engine: Engine, marker: Marker) -> None:
    # A redirect would show another layer's directory, or one above; metacopy another file's content.
    trusted = "SCHILY.xattr.trusted.overlay"
    up = {f"{trusted}.redirect": "/" + "../" * 10 + str(marker.folder), "SCHILY.xattr.user.overlay.redirect": "/etc"}
    members = [
        tars.member("seen", "dir", pax_headers=up),
        tars.member(
            "file", "file", "own", pax_headers={f"{trusted}.metacopy": "", f"{trusted}.redirect": "/etc/passwd"}
        ),
        tars.member("etc", "dir", pax_headers={f"{trusted}.opaque": "y"}),
    ]
    engine.docker("load", stdin=image({}, (tars.tar(members),)), text=False)
    script = "ls /seen | wc -l; cat /file; echo; test -e /etc/passwd && echo there"
    assert engine.docker("run", "--rm", "hostile", "sh", "-c", script).stdout.split() == ["0", "own", "there"]
