"""A real registry, shared by this folder's tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import registries
from support.engines import Engine


@pytest.fixture(scope="session")
def registry() -> Iterator[registries.Registry]:
    """A registry without authentication."""
    if registries.BINARY is None:
        pytest.skip("needs Debian's docker-registry")
    with registries.running() as found:
        yield found


@pytest.fixture(autouse=True)
def tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    """Removes what lost its tag to a later pull: other tests share the engine."""
    # Asked for first, so that it is still there at the end.
    engine: Engine | None = request.getfixturevalue("engine") if "engine" in request.fixturenames else None
    yield
    if engine is not None:
        for image in engine.client.images.list():
            if not image.tags:
                engine.client.images.remove(image.id, force=True)


@pytest.fixture
def address() -> str:
    """An address of this machine that is not loopback, where any certificate would do."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no other address than loopback")
        return str(probe.getsockname()[0])


@pytest.fixture
def authority(tmp_path: Path, address: str) -> Path:
    """A folder with an authority (ca.pem), a server's certificate for `address` and a client's (.pem, .key)."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")

    def openssl(*words: str | Path) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, cwd=tmp_path)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=tests", "-days", "2")
    for name, extension in (("server", f"subjectAltName=IP:{address}"), ("client", "extendedKeyUsage=clientAuth")):
        (tmp_path / "extension").write_text(extension)
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.pem", "-days", "2", "-extfile", "extension")  # fmt: skip
    return tmp_path
