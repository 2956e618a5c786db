"""Pushing to a real registry, with the real clients; logging in."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from dosirak.engine.registry import packing
from support import registries, tars
from support.engines import Engine
from support.registries import HTPASSWD, PASSWORD, USER, Registry, digest
from support.rootfs import busybox_tar

if TYPE_CHECKING:
    import docker as docker_py

Docker = Callable[..., Any]


@pytest.fixture(scope="module")
def closed() -> Iterator[Registry]:
    """A registry that wants a user and a password."""
    if registries.BINARY is None:
        pytest.skip("needs Debian's docker-registry")
    with registries.running(HTPASSWD) as found:
        yield found


def test_a_digest_survives_pull_and_push(docker: Docker, registry: Registry) -> None:
    made = registry.image("orig:1", [busybox_tar(), tars.files(a="digests survive")])["digest"]
    first, second = f"{registry.address}/orig:1", f"{registry.address}/copy/of:2"
    docker("pull", "-q", first)
    docker("tag", first, second)
    said = docker("push", second).stdout
    assert f"The push refers to repository [{registry.address}/copy/of]" in said
    assert said.count("Mounted from orig") == 2
    assert f"2: digest: {made} size: " in said
    said = docker("push", second).stdout
    assert said.count("Layer already exists") == 2
    docker("rmi", "-f", first, second)
    assert f"Digest: {made}" in docker("pull", second).stdout
    docker("rmi", second)


def test_a_layer_that_is_in_an_image_twice_packed_in_two_ways_is_pushed_as_it_came(
    docker: Docker, registry: Registry
) -> None:
    layer = tars.files(twice="packed in two ways")
    rootfs = {"type": "layers", "diff_ids": [digest(layer)] * 2}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
    kind = "application/vnd.oci.image.layer.v1.tar+gzip"
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": registry.put("ways", config, "application/vnd.oci.image.config.v1+json"),
        "layers": [registry.put("ways", gzip.compress(layer, level, mtime=0), kind) for level in (0, 9)],
    }
    made = registry.tag("ways", "1", document)["digest"]
    first, second = f"{registry.address}/ways:1", f"{registry.address}/other/ways:1"
    docker("pull", "-q", first)
    docker("tag", first, second)
    assert f"1: digest: {made} size: " in docker("push", second).stdout
    docker("rmi", "-f", first, second)


def test_an_image_made_here_can_be_pushed_and_pulled_back(docker: Docker, registry: Registry, busybox: str) -> None:
    name = f"{registry.address}/made/here:1"
    docker("build", "-q", "-t", name, "-", stdin=f"FROM {busybox}\nRUN echo made > /made\n")
    assert "Pushed" in docker("push", name).stdout
    assert json.loads(docker("inspect", name).stdout)[0]["RepoDigests"][0].startswith(f"{registry.address}/made/here@")
    docker("rmi", name)
    assert docker("run", "--rm", name, "cat", "/made").stdout == "made\n"
    docker("rmi", name)


def test_layers_made_here_are_pushed_compressed_once_and_the_same_each_time(
    docker: Docker, engine: Engine, registry: Registry, busybox: str
) -> None:
    first, child = f"{registry.address}/packed:1", f"{registry.address}/child:1"
    docker("build", "-q", "-t", first, "-", stdin=f"FROM {busybox}\nRUN yes made here | head -c 9000000 > /made\n")
    before = json.loads(docker("inspect", first).stdout)[0]
    blobs = engine.settings.data / "content/blobs/sha256"
    former = {path.name for path in blobs.iterdir()}
    # What a build has just packed: no image has it yet.
    (blobs / ("0" * 64)).write_bytes(b"")
    pushed = docker("push", first).stdout
    gone = former - {path.name for path in blobs.iterdir()}
    (blobs / ("0" * 64)).unlink()
    assert len(gone) == 1, "the former manifest, and nothing else"
    assert "Preparing" in pushed and "Pushed" in pushed
    manifest = registry.manifest("packed", "1")
    assert {layer["mediaType"] for layer in manifest["layers"]} == {"application/vnd.oci.image.layer.v1.tar+gzip"}
    assert manifest["layers"][-1]["size"] < 1_000_000
    after = json.loads(docker("inspect", first).stdout)[0]
    assert (after["Id"], after["RootFS"]) == (before["Id"], before["RootFS"])
    assert all((blobs / layer["digest"][7:]).exists() for layer in manifest["layers"])
    docker("build", "-q", "-t", child, "-", stdin=f"FROM {first}\nRUN echo more > /more\n")
    docker("push", child)
    again = registry.manifest("child", "1")["layers"]
    assert [layer["digest"] for layer in again[:-1]] == [layer["digest"] for layer in manifest["layers"]]
    assert docker("run", "--rm", child, "cat", "/more").stdout == "more\n"
    docker("rmi", first, child)
    assert docker("run", "--rm", child, "wc", "-c", "/made").stdout.split()[0] == "9000000"
    docker("rmi", child)


@pytest.mark.parametrize("size", [0, 1, 10, packing._MEMBER, 2 * packing._MEMBER + 1])
def test_compressing_is_reversible_and_repeatable(size: int) -> None:
    data = (b"0123456789" * (size // 10 + 1))[:size]
    made = []
    for _ in range(2):
        pieces: list[bytes] = []
        packing.compress(io.BytesIO(data), pieces.append)
        made.append(b"".join(pieces))
    assert made[0] == made[1]
    assert gzip.decompress(made[0]) == data


def test_docker_py_pushes_and_reads_what_came_of_it(
    client: docker_py.DockerClient, registry: Registry, busybox: str
) -> None:
    name = f"{registry.address}/from/py"
    client.images.get(busybox).tag(name, "x")
    lines = [*client.api.push(name, "x", stream=True, decode=True)]
    aux = next(line["aux"] for line in lines if "aux" in line)
    assert client.api.inspect_distribution(f"{name}:x")["Descriptor"]["digest"] == aux["Digest"]
    assert client.images.get_registry_data(f"{name}:x").has_platform("linux/amd64")
    client.images.remove(f"{name}:x")


def test_push_without_such_an_image_says_so(docker: Docker, registry: Registry) -> None:
    done = docker("push", f"{registry.address}/not/here", check=False)
    assert done.returncode == 1
    assert f"An image does not exist locally with the tag: {registry.address}/not/here" in done.stderr


def test_all_tags_of_a_repository_are_pushed(docker: Docker, registry: Registry, busybox: str) -> None:
    names = [f"{registry.address}/all:{tag}" for tag in ("a", "b")]
    for name in names:
        docker("tag", busybox, name)
    docker("push", "-q", "-a", f"{registry.address}/all")
    assert sorted(registry.get("all/tags/list")["tags"]) == ["a", "b"]
    docker("rmi", *names)


def test_a_closed_registry_wants_a_login(docker: Docker, engine: Engine, closed: Registry, busybox: str) -> None:
    name = f"{closed.address}/private:1"
    docker("tag", busybox, name)
    assert "no basic auth credentials" in docker("push", name, check=False).stderr
    login = ("login", "-u", USER, "--password-stdin", closed.address)
    done = docker(*login, stdin="wrong", check=False)
    assert done.returncode == 1
    assert f"login attempt to http://{closed.address}/v2/ failed with status: 401 Unauthorized" in done.stderr
    assert "Login Succeeded" in docker(*login, stdin=PASSWORD).stdout
    docker("push", "-q", name)
    docker("rmi", name)
    docker("pull", "-q", name)
    docker("rmi", name)
    docker("build", "-q", "-t", "built", "-", stdin=f"FROM {name}\n")
    docker("logout", closed.address)
    docker("rmi", name, "built")
    assert "no basic auth credentials" in docker("pull", name, check=False).stderr
    assert PASSWORD not in engine.log
