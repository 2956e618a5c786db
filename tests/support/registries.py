"""A real registry (Debian's `docker-registry`) on loopback, with a root of its own, ended by whoever made it."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from support.engines import session_base

BINARY = shutil.which("docker-registry")

_DOCKER = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)
_OCI = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
)
USER, PASSWORD = "tester", "secret word"
HTPASSWD = "tester:$2y$05$abcdefghijklmnopqrstuu1C7yeI3ZG3Jm.nHdnKkGJg1xTYKP9Oy\n"
"""For `running`: who may."""

INDEX = "application/vnd.oci.image.index.v1+json"


def digest(data: bytes) -> str:
    """The digest of these bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@functools.lru_cache(maxsize=4)
def _packed(layer: bytes) -> bytes:
    """Under several names the same layer is compressed once."""
    return gzip.compress(layer, 1, mtime=0)


class Remote:
    """A registry without a login, at an address."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str) -> dict:
        """The JSON under `/v2/…`, as its own API gives it."""
        with urllib.request.urlopen(f"http://{self.address}/v2/{path}", timeout=10) as answer:
            return json.load(answer)

    def ask(self, method: str, path: str, body: bytes = b"", media_type: str = "application/octet-stream") -> str:
        """One request below `/v2/`; the answer's Location."""
        connection = http.client.HTTPConnection(self.address, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, f"/v2/{path}", body, {"Content-Type": media_type})
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status < 400, (path, answer.status, said)
            return (answer.headers["Location"] or "").partition("/v2/")[2]

    def put(self, repository: str, data: bytes, media_type: str = "application/octet-stream") -> dict:
        """Uploads a blob; its descriptor."""
        place = self.ask("POST", f"{repository}/blobs/uploads/")
        self.ask("PUT", f"{place}&digest={digest(data)}", data)
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    def image(
        self,
        name: str,
        layers: list[bytes],
        *,
        architecture: str = "amd64",
        oci: bool = False,
        config: Mapping[str, object] | None = None,
    ) -> dict:
        """Uploads an image of these tars (compressed here) under "repository:tag"; its manifest's descriptor."""
        repository, _, tag = name.partition(":")
        document = {
            "created": "2023-11-14T22:13:20Z",
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"], **(config or {})},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
        }
        kinds = _OCI if oci else _DOCKER
        manifest = {
            "schemaVersion": 2,
            "mediaType": kinds[0],
            "config": self.put(repository, json.dumps(document).encode(), kinds[1]),
            "layers": [self.put(repository, _packed(layer), kinds[2]) for layer in layers],
        }
        return self.tag(repository, tag, manifest)

    def tag(self, repository: str, tag: str, document: dict) -> dict:
        """Puts a manifest or index; its descriptor."""
        data = json.dumps(document).encode()
        self.ask("PUT", f"{repository}/manifests/{tag}", data, document["mediaType"])
        return {"mediaType": document["mediaType"], "digest": digest(data), "size": len(data)}

    def manifest(self, repository: str, which: str) -> dict:
        """An image's manifest."""
        headers = {"Accept": f"{_DOCKER[0]}, {_OCI[0]}"}
        url = f"http://{self.address}/v2/{repository}/manifests/{which}"
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return json.load(answer)


class Registry(Remote):
    """A `docker-registry` of our own. `root`: where its blobs lie (`log` too)."""

    process: subprocess.Popen[bytes]

    def __init__(self, root: Path, port: int) -> None:
        super().__init__(f"127.0.0.1:{port}")
        self.root = root
        self.log = root / "log"

    def requests(self) -> list[str]:
        """What it was asked so far: "GET /v2/…"."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line.split('"')[1].rpartition(" HTTP")[0] for line in lines if '"' in line and " HTTP/1.1" in line]

    def blob_path(self, digest: str) -> Path:
        """The file of a blob."""
        digits = digest.removeprefix("sha256:")
        return self.root / "data/docker/registry/v2/blobs/sha256" / digits[:2] / digits / "data"


@contextlib.contextmanager
def running(htpasswd: str = "") -> Iterator[Registry]:
    """A registry that answers, gone afterwards; with `htpasswd` (a file's text) it wants basic authentication."""
    root = Path(tempfile.mkdtemp(prefix="reg-", dir=session_base()))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        with serving(root, port, htpasswd) as registry:
            yield registry
    finally:
        shutil.rmtree(root)


@contextlib.contextmanager
def serving(root: Path, port: int, htpasswd: str = "") -> Iterator[Registry]:
    """A registry over this folder, which stays."""
    assert BINARY is not None
    root.mkdir(exist_ok=True)
    registry = Registry(root, port)
    (root / "htpasswd").write_text(htpasswd)
    auth = f"auth: {{htpasswd: {{realm: tests, path: {root}/htpasswd}}}}\n" if htpasswd else ""
    (root / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}/data}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: {registry.address}}}\n{auth}"
    )
    with registry.log.open("w") as log:
        process = registry.process = subprocess.Popen(
            [BINARY, "serve", str(root / "config.yml")], stdout=log, stderr=log
        )
    try:
        _wait(registry, process)
        yield registry
    finally:
        process.terminate()
        process.wait()


def _wait(registry: Registry, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, registry.log.read_text()
        try:
            registry.get("")
            return
        except urllib.error.HTTPError as error:
            if error.code == 401:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError("the registry does not answer")
