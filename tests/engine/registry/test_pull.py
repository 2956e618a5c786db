"""Pulling from a real registry, with the real clients."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from dosirak.engine.start import ServiceNotStartable
from support import tars
from support.engines import Engine, new_settings
from support.registries import INDEX, Registry, digest
from support.rootfs import busybox_tar

if TYPE_CHECKING:
    import docker as docker_py

Docker = Callable[..., Any]


@pytest.fixture
def box(registry: Registry, docker: Docker) -> Iterator[str]:
    """A two-layer image in the registry, not here; gone from here after the test."""
    registry.image("box:1", [busybox_tar(), tars.files(hello="from the registry\n")])
    name = f"{registry.address}/box:1"
    yield name
    docker("rmi", "-f", name, check=False)


def test_a_pulled_image_runs_and_is_known_by_tag_and_digest(docker: Docker, registry: Registry, box: str) -> None:
    said = docker("pull", box).stdout
    assert "1: Pulling from box" in said
    assert said.count("Pull complete") == 2
    assert f"Status: Downloaded newer image for {box}" in said
    assert docker("run", "--rm", box, "cat", "/hello").stdout == "from the registry\n"
    found = json.loads(docker("inspect", box).stdout)[0]
    assert found["RepoTags"] == [box]
    assert f"Digest: {found['RepoDigests'][0].partition('@')[2]}" in said


def test_a_second_pull_fetches_no_blob(docker: Docker, registry: Registry, box: str) -> None:
    docker("pull", box)
    layers = [layer["digest"] for layer in registry.manifest("box", "1")["layers"]]
    before = registry.requests()
    assert f"Status: Image is up to date for {box}" in docker("pull", box).stdout
    asked = registry.requests()[len(before) :]
    assert not [line for line in asked if any(layer in line for layer in layers)]


def test_a_shared_layer_is_not_fetched_again(docker: Docker, registry: Registry, box: str) -> None:
    registry.image("box:more", [busybox_tar(), tars.files(other="x")])
    docker("pull", box)
    said = docker("pull", f"{registry.address}/box:more").stdout
    assert (said.count("Already exists"), said.count("Pull complete")) == (1, 1)
    docker("rmi", f"{registry.address}/box:more")
    assert docker("run", "--rm", box, "cat", "/hello").stdout == "from the registry\n"


def test_run_pulls_what_is_missing(docker: Docker, box: str) -> None:
    done = docker("run", "--rm", box, "cat", "/hello")
    assert done.stdout == "from the registry\n"
    assert f"Unable to find image '{box}' locally" in done.stderr


def test_a_build_pulls_its_base(docker: Docker, box: str) -> None:
    docker("build", "-q", "-t", "built", "-", stdin=f"FROM {box}\nRUN cat /hello > /copy\n")
    assert docker("run", "--rm", "built", "cat", "/copy").stdout == "from the registry\n"
    docker("build", "--pull", "-q", "-t", "built", "-", stdin=f"FROM {box}\nRUN cat /hello > /copy\n")
    docker("rmi", "built")


def test_docker_py_pulls_by_digest(client: docker_py.DockerClient, registry: Registry, box: str) -> None:
    found = registry.image("box:2", [busybox_tar(), tars.files(two="2")])["digest"]
    image = client.images.pull(f"{registry.address}/box@{found}")
    assert image.tags == []
    assert image.attrs["RepoDigests"] == [f"{registry.address}/box@{found}"]
    client.images.remove(image.id)


def test_of_an_index_the_fitting_platform_is_taken(docker: Docker, registry: Registry) -> None:
    platforms = []
    for architecture, content in (("arm64", "arm"), ("amd64", "amd")):
        layers = [busybox_tar(), tars.files(which=content)]
        made = registry.image(f"many:{architecture}", layers, architecture=architecture, oci=True)
        platforms.append({**made, "platform": {"os": "linux", "architecture": architecture}})
    index = registry.tag("many", "1", {"schemaVersion": 2, "mediaType": INDEX, "manifests": platforms})
    name = f"{registry.address}/many:1"
    docker("pull", name)
    assert docker("run", "--rm", name, "cat", "/which").stdout == "amd"
    assert json.loads(docker("inspect", name).stdout)[0]["RepoDigests"] == [
        f"{registry.address}/many@{index['digest']}"
    ]
    docker("pull", "-q", "--platform", "linux/arm64", name)
    assert docker("image", "inspect", "-f", "{{.Architecture}}", name).stdout.strip() == "arm64"
    done = docker("pull", "--platform", "linux/s390x", name, check=False)
    assert "no matching manifest for linux/s390x in the manifest list entries" in done.stderr
    docker("rmi", "-f", name)


def test_a_corrupt_layer_leaves_nothing(docker: Docker, engine: Engine, registry: Registry) -> None:
    registry.image("bad:1", [busybox_tar(), tars.files(bad="one of a kind")])
    layer = registry.manifest("bad", "1")["layers"][1]["digest"]
    path = registry.blob_path(layer)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    done = docker("pull", f"{registry.address}/bad:1", check=False)
    assert done.returncode == 1
    assert docker("images", "-q", f"{registry.address}/bad").stdout == ""
    assert not list((engine.settings.data / "content/tmp").iterdir())
    assert not (engine.settings.data / "content/blobs/sha256" / layer[7:]).exists()


def test_what_the_registry_lacks_is_said_in_dockers_words(docker: Docker, registry: Registry, box: str) -> None:
    done = docker("pull", box.replace(":1", ":none"), check=False)
    assert f"manifest for {registry.address}/box:none not found: manifest unknown: manifest unknown" in done.stderr
    wrong = digest(b"nothing")
    done = docker("pull", f"{registry.address}/box@{wrong}", check=False)
    assert f"manifest for {registry.address}/box@{wrong} not found: manifest unknown" in done.stderr


@pytest.mark.parametrize("packed", ["", "+gzip", "+zstd"])
def test_layers_come_packed_in_any_way(docker: Docker, registry: Registry, packed: str) -> None:
    layers = [busybox_tar(), tars.files(packed=f"as {packed}")]
    pack = {"": bytes, "+gzip": gzip.compress, "+zstd": zstandard.compress}[packed]
    rootfs = {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]}, "rootfs": rootfs}).encode()
    kind = "application/vnd.oci.image.layer.v1.tar"
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": registry.put("packing", config, "application/vnd.oci.image.config.v1+json"),
        "layers": [registry.put("packing", pack(layer), f"{kind}{packed}") for layer in layers],
    }
    made = registry.tag("packing", "1", document)
    name = f"{registry.address}/packing:1"
    docker("pull", f"{name}@{made['digest']}")
    assert (
        docker("run", "--rm", f"{registry.address}/packing@{made['digest']}", "cat", "/packed").stdout == f"as {packed}"
    )
    # What came plain goes back plain.
    docker("tag", f"{registry.address}/packing@{made['digest']}", f"{registry.address}/back:1")
    assert f"digest: {made['digest']}" in docker("push", f"{registry.address}/back:1").stdout
    docker("rmi", f"{registry.address}/packing@{made['digest']}", f"{registry.address}/back:1")


def test_all_tags_are_pulled(docker: Docker, registry: Registry) -> None:
    names = [f"{registry.address}/tags:{tag}" for tag in ("a", "b")]
    for tag in ("a", "b"):
        registry.image(f"tags:{tag}", [busybox_tar(), tars.files(tag=tag)])
    docker("pull", "-q", "-a", f"{registry.address}/tags")
    assert docker("run", "--rm", names[1], "cat", "/tag").stdout == "b"
    docker("rmi", *names)


def test_two_pulls_at_once_fetch_each_layer_once(engine: Engine, registry: Registry, box: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    registry.image("twice:1", [busybox_tar(), tars.files(twice="only in this one")])
    layer = registry.manifest("twice", "1")["layers"][1]["digest"]
    name = f"{registry.address}/twice:1"
    with ThreadPoolExecutor(4) as pool:
        for done in pool.map(lambda _: engine.docker("pull", name), range(4)):
            assert "Status: " in done.stdout
    assert sum(layer in line and line.startswith("GET") for line in registry.requests()) == 1
    engine.docker("rmi", name)


def test_a_mirror_answers_for_the_hub(fresh_engine: Engine, registry: Registry) -> None:
    registry.image("library/tutorial:14.04", [busybox_tar()])
    text = f'[registries.mirrors]\n"docker.io" = ["http://{registry.address}"]\n'
    (fresh_engine.settings.data / "dosirak.toml").write_text(text)
    fresh_engine.docker("pull", "tutorial:14.04")
    found = fresh_engine.client.api.inspect_distribution("tutorial:14.04")
    assert found["Platforms"] == [{"architecture": "amd64", "os": "linux"}]
    fresh_engine.docker("pull", "-q", "-a", "tutorial")
    assert fresh_engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.strip() == "tutorial:14.04"


def test_registries_conf_leads_a_pull_to_its_mirror(registry: Registry, tmp_path: Path, monkeypatch: Any) -> None:
    registry.image("apart/tutorial:1", [busybox_tar()])
    conf = tmp_path / "registries.conf"
    conf.write_text(
        'unqualified-search-registries = ["nowhere.example"]\n'
        '[[registry]]\nprefix = "school.example/lab"\nlocation = "nowhere.example/lab"\n'
        f'[[registry.mirror]]\nlocation = "{registry.address}/apart"\ninsecure = true\n'
        '[[registry]]\nprefix = "bad.example"\nblocked = true\n'
    )
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
    engine = Engine(new_settings("r"))
    engine.start()
    try:
        engine.docker("pull", "school.example/lab/tutorial:1")
        assert engine.docker("run", "--rm", "school.example/lab/tutorial:1", "echo", "hi").stdout == "hi\n"
        done = engine.docker("pull", "bad.example/x", check=False)
        assert done.returncode == 1 and f"registry bad.example is blocked in {conf}" in done.stderr
    finally:
        engine.stop()


MALFORMED = (
    (b"\xff\xfe", "not valid TOML"),
    (b"[registries", "not valid TOML"),
    (b'[registries]\ninsecure = "one"\n', "dosirak.toml: registries: Expected `array`"),
    (b"[registries]\nmirror = 1\n", "unknown field `mirror`"),
)


def test_a_malformed_configuration_is_one_clear_line_where_it_is_needed(fresh_engine: Engine) -> None:
    docker, busybox = fresh_engine.docker, fresh_engine.import_busybox()
    login = ("login", "-u", "me", "-p", "x", "a.example")
    for text, words in MALFORMED:
        (fresh_engine.settings.data / "dosirak.toml").write_bytes(text)
        for command in (("pull", "box"), ("push", busybox), ("search", "box"), login):
            done = docker(*command, check=False)
            [line] = [line for line in done.stderr.splitlines() if "WARNING" not in line]
            assert done.returncode == 1 and words in line, done
        info = docker("info")
        assert words in info.stderr and "Registry Mirrors" not in info.stdout
    assert docker("run", "--rm", busybox, "echo", "runs").stdout == "runs\n"
    # The next service starts with it, too; not with a file that is no TOML, which may say where its networks are.
    fresh_engine.kill()
    fresh_engine.start()
    assert words in docker("info").stderr
    file = fresh_engine.settings.data / "dosirak.toml"
    file.write_bytes(b"[registries")
    fresh_engine.kill()
    try:
        with pytest.raises(ServiceNotStartable, match="not valid TOML"):
            fresh_engine.start()
    finally:
        file.unlink()


def test_layers_are_downloaded_at_the_same_time(engine: Engine, registry: Registry) -> None:
    layers = [tars.files(**{f"one-{number}": "x" * 1000}) for number in range(3)]
    registry.image("together:1", layers)
    blobs = {layer["digest"] for layer in registry.manifest("together", "1")["layers"]}
    # Nobody gets a layer before three ask at once.
    gathered = threading.Barrier(3, timeout=30)

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                if self.path.rpartition("/")[2] in blobs:
                    gathered.wait()
                request = urllib.request.Request(
                    f"http://{registry.address}{self.path}", headers={"Accept": self.headers["Accept"] or "*/*"}
                )
                with urllib.request.urlopen(request) as answer:
                    data = answer.read()
                    self.send_response(200)
                    self.send_header("Content-Type", answer.headers["Content-Type"] or "application/octet-stream")
            except threading.BrokenBarrierError:
                self.send_error(500)
                return
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            name = f"127.0.0.1:{server.server_port}/together:1"
            assert engine.docker("pull", name).stdout.count("Pull complete") == 3
        finally:
            server.shutdown()
            thread.join()
    engine.docker("rmi", name)


def test_search_takes_a_limit_and_filters(fresh_engine: Engine, registry: Registry) -> None:
    for name in ("limited-a", "limited-b", "limited-c"):
        registry.image(f"library/{name}:1", [busybox_tar()])
    docker, where = fresh_engine.docker, registry.address

    def found(*words: str) -> list[str]:
        return sorted(docker("search", "--format", "{{.Name}}", *words, f"{where}/limited").stdout.split())

    assert found() == [f"{where}/library/limited-{letter}" for letter in "abc"]
    assert len(found("--limit", "2")) == 2
    assert found("--filter", "stars=1") == [] == found("--filter", "is-official=true")
    assert len(found("--filter", "is-official=false", "--limit", "100")) == 3
    for words, said in (
        (("--limit", "101"), "limit 101 is outside the range of [1, 100]"),
        (("--filter", "stars=many"), "invalid filter 'stars=many'"),
        (("--filter", "color=red"), "invalid filter"),
    ):
        done = docker("search", *words, f"{where}/limited", check=False)
        assert done.returncode == 1 and said in done.stderr, done.stderr


def test_search_looks_in_the_list_of_repositories(fresh_engine: Engine, registry: Registry, box: str) -> None:
    registry.image("library/searched-for:1", [busybox_tar()])
    found = fresh_engine.docker("search", "--format", "{{.Name}}", f"{registry.address}/ox")
    assert f"{registry.address}/box" in found.stdout.splitlines()
    # The Hub does not answer here, a mirror of it does.
    text = f'[registries.mirrors]\n"docker.io" = ["http://{registry.address}"]\n'
    text += '[registries.locations]\n"docker.io" = "127.0.0.1:1"\n'
    (fresh_engine.settings.data / "dosirak.toml").write_text(text)
    assert f"Registry Mirrors:\n  http://{registry.address}/" in fresh_engine.docker("info").stdout
    found = fresh_engine.docker("search", "--format", "{{.Name}} {{.IsOfficial}}", "searched")
    assert found.stdout.splitlines() == ["searched-for [OK]"]
