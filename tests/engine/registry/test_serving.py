"""The private registry over the local store: docker's, podman's and skopeo's clients, and requests of our own."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dosirak.engine.images import platforms
from dosirak.engine.registry.serving import passwords
from support import tars
from support.engines import Engine
from support.registries import HTPASSWD, INDEX, PASSWORD, USER, digest

Docker = Callable[..., Any]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture
def serve(engine: Engine) -> Iterator[Callable[..., str]]:
    """Serves the worker's engine at a free port; returns the address."""
    api = engine.client.api
    url = f"{api.base_url}/dosirak/registries"
    found: list[str] = []

    def serve(**wanted: Any) -> str:
        answer = api.post(url, json={"Port": 0, **wanted})
        assert answer.status_code == 201, answer.text
        found.append(answer.json()["Address"])
        return found[-1]

    yield serve
    for address in {one["Address"] for one in api.get(url).json()}.intersection(found):
        assert api.delete(f"{url}/{address}").status_code == 204
    assert not api.get(url).json()


def ask(address: str, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request to a served registry."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, named)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def code(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    """A refusal's status and code."""
    return answer[0], json.loads(answer[2])["errors"][0]["code"]


def upload(address: str, name: str, data: bytes) -> None:
    """A blob, in two pieces and an end."""
    _, begun, _ = ask(address, "POST", f"/v2/{name}/blobs/uploads/")
    half = len(data) // 2
    place = begun["location"]
    status, headers, _ = ask(address, "PATCH", place, data[:half], Content_Range=f"0-{half - 1}")
    assert (status, headers["range"]) == (202, f"0-{half - 1}")
    assert code(ask(address, "PATCH", place, data[half:], Content_Range=f"{half + 1}-{len(data)}"))[0] == 416
    assert ask(address, "GET", place)[1]["range"] == f"0-{half - 1}"
    status, headers, _ = ask(address, "PUT", f"{headers['location']}?digest={digest(data)}", data[half:])
    assert (status, headers["docker-content-digest"]) == (201, digest(data))


def described(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def image(layer: bytes) -> tuple[bytes, bytes]:
    """A one-layer image's manifest and config."""
    rootfs = {"type": "layers", "diff_ids": [digest(layer)]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(CONFIG, config),
        "layers": [described(LAYER, layer)],
    }
    return json.dumps(document).encode(), config


def test_docker_pulls_from_another_engine_and_pushes_to_it(
    docker: Docker, serve: Callable[..., str], fresh_engine: Engine, busybox: str
) -> None:
    address = serve()
    name = f"{address}/{busybox}"
    said = fresh_engine.docker("pull", name).stdout
    assert "Pull complete" in said
    assert fresh_engine.docker("run", "--rm", name, "echo", "from the teacher").stdout == "from the teacher\n"
    fresh_engine.docker("build", "-q", "-t", f"{address}/home/work:1", "-", stdin=f"FROM {name}\nRUN echo hi > /hi\n")
    said = fresh_engine.docker("push", f"{address}/home/work:1").stdout
    assert "Mounted from busybox" in said or "Layer already exists" in said or "Pushed" in said
    pushed = f"localhost:{address.rpartition(':')[2]}/home/work:1"
    assert docker("run", "--rm", pushed, "cat", "/hi").stdout == "hi\n"
    assert json.loads(ask(address, "GET", "/v2/home/work/tags/list")[2]) == {"name": "home/work", "tags": ["1"]}
    docker("rmi", pushed)


@pytest.mark.parametrize("program", ["podman", "skopeo"])
def test_other_clients_pull_and_push(
    program: str, docker: Docker, serve: Callable[..., str], busybox: str, tmp_path: Path
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs Debian's {program}")
    address = serve(User="me", Password="our secret")
    copied = f"localhost:{address.rpartition(':')[2]}/by/{program}:1"

    def run(*words: str) -> None:
        subprocess.run(words, check=True, capture_output=True, text=True, timeout=120)

    if program == "skopeo":
        skopeo = ("skopeo", "--insecure-policy", "copy")
        run(*skopeo, "--src-tls-verify=false", "--src-creds=me:our secret", f"docker://{address}/{busybox}",
            f"oci:{tmp_path}/there")  # fmt: skip
        run(*skopeo, "--dest-tls-verify=false", "--dest-creds=me:our secret", f"oci:{tmp_path}/there",
            f"docker://{address}/by/skopeo:1")  # fmt: skip
    else:
        with tempfile.TemporaryDirectory(prefix="dsk-podman-", dir="/tmp") as folder:  # podman takes short paths only
            podman = ("podman", "--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "vfs")
            run(*podman, "pull", "--tls-verify=false", "--creds=me:our secret", f"{address}/{busybox}")
            run(*podman, "push", "--tls-verify=false", "--creds=me:our secret", f"{address}/{busybox}",
                f"{address}/by/podman:1")  # fmt: skip
    assert docker("run", "--rm", copied, "echo", "back").stdout == "back\n"
    docker("rmi", copied)


def test_blobs_come_in_pieces_and_what_is_no_image_is_refused(
    engine: Engine, docker: Docker, serve: Callable[..., str]
) -> None:
    address = serve()
    layer = tars.files(own="made by hand")
    manifest, config = image(layer)
    put = f"/v2/made/manifests/{digest(manifest)}"
    assert code(ask(address, "PUT", put, manifest, Content_Type=MANIFEST)) == (404, "MANIFEST_BLOB_UNKNOWN")
    upload(address, "made", layer)
    upload(address, "made", config)
    assert ask(address, "HEAD", f"/v2/made/blobs/{digest(layer)}")[0] == 200
    assert ask(address, "GET", f"/v2/made/blobs/{digest(layer)}", Range="bytes=3-9")[2] == layer[3:10]
    for wrong in (b"{}", b"[" * 5000, manifest.replace(b'"layers"', b'"manifests": [], "layers"')):
        assert code(ask(address, "PUT", "/v2/made/manifests/1", wrong, Content_Type=MANIFEST)) == (
            400,
            "MANIFEST_INVALID",
        )
    assert code(ask(address, "PUT", "/v2/made/manifests/-x", manifest, Content_Type=MANIFEST)) == (400, "TAG_INVALID")
    status, headers, _ = ask(address, "PUT", "/v2/made/manifests/1", manifest, Content_Type=MANIFEST)
    assert (status, headers["docker-content-digest"]) == (201, digest(manifest))
    for which in ("1", digest(manifest)):
        status, headers, body = ask(address, "GET", f"/v2/made/manifests/{which}")
        assert (status, body, headers["content-type"]) == (200, manifest, MANIFEST)
        assert ask(address, "HEAD", f"/v2/made/manifests/{which}")[1]["content-length"] == str(len(manifest))
    assert "made" in json.loads(ask(address, "GET", "/v2/_catalog")[2])["repositories"]
    index = {"schemaVersion": 2, "mediaType": INDEX}
    own = {**described(MANIFEST, manifest), "platform": {"os": "linux", "architecture": platforms.host().architecture}}
    for others, status in (
        ([described(LAYER, layer)], 400),
        ([{**own, "platform": {"os": "plan9", "architecture": "mips"}}], 400),
        ([own, {**described(MANIFEST, b"elsewhere"), "platform": {"os": "plan9", "architecture": "mips"}}], 201),
    ):
        body = json.dumps({**index, "manifests": others}).encode()
        assert ask(address, "PUT", "/v2/made/manifests/all", body, Content_Type=INDEX)[0] == status
    assert ask(address, "GET", "/v2/made/manifests/all")[2] == body
    docker("rmi", f"localhost:{address.rpartition(':')[2]}/made:all")
    _, headers, body = ask(address, "GET", "/v2/_catalog?n=1")
    assert len(json.loads(body)["repositories"]) == 1 and 'rel="next"' in headers["link"]
    assert json.loads(ask(address, "GET", f"/v2/made/referrers/{digest(manifest)}")[2])["manifests"] == []
    docker("rmi", f"localhost:{address.rpartition(':')[2]}/made:1")


def test_nothing_is_left_of_an_upload_that_no_image_needed(engine: Engine, serve: Callable[..., str]) -> None:
    blobs = engine.settings.data / "content/blobs/sha256"
    before = {path.name for path in blobs.iterdir()}
    address = serve()
    upload(address, "left", b"nobody needs this")
    ask(address, "POST", "/v2/left/blobs/uploads/")
    assert (blobs / digest(b"nobody needs this")[7:]).exists()
    api = engine.client.api
    assert api.delete(f"{api.base_url}/dosirak/registries/{address}").status_code == 204
    assert {path.name for path in blobs.iterdir()} == before
    assert not list((engine.settings.data / "content/tmp").iterdir())
    serve(Port=int(address.rpartition(":")[2]))


def test_who_may_not_is_told_so(engine: Engine, serve: Callable[..., str], busybox: str) -> None:
    closed, reading = serve(User="me", Password="our secret"), serve(ReadOnly=True)
    answer = ask(closed, "GET", "/v2/")
    assert code(answer) == (401, "UNAUTHORIZED") and answer[1]["www-authenticate"] == 'Basic realm="Dosirak"'
    right = base64.b64encode(b"me:our secret").decode()
    for given, status in ((f"Basic {right}", 200), (f"basic {right}", 200), ("Basic x", 401), (f"Bearer {right}", 401)):
        assert ask(closed, "GET", "/v2/", Authorization=given)[0] == status
    assert code(ask(reading, "POST", "/v2/x/blobs/uploads/")) == (403, "DENIED")
    for method, path, refusal in (
        ("GET", "/v2/../../etc/passwd", (404, "NAME_UNKNOWN")),
        ("GET", "/v2/X/tags/list", (404, "NAME_UNKNOWN")),
        ("GET", "/v2/not/here/tags/list", (404, "NAME_UNKNOWN")),
        ("GET", f"/v2/{'a' * 300}/tags/list", (400, "NAME_INVALID")),
        ("GET", "/v2/x/blobs/sha256:../../x", (400, "DIGEST_INVALID")),
        ("GET", f"/v2/x/blobs/{digest(b'nothing')}", (404, "BLOB_UNKNOWN")),
        ("GET", "/v2/x/manifests/1", (404, "MANIFEST_UNKNOWN")),
        ("DELETE", "/v2/x/manifests/1", (405, "UNSUPPORTED")),
        ("GET", "/v2/_catalog?n=-1", (400, "PAGINATION_NUMBER_INVALID")),
    ):
        assert code(ask(reading, method, path)) == refusal, path
    assert "our secret" not in engine.log


def test_the_users_of_an_htpasswd_file_come_in_and_no_others(
    serve: Callable[..., str], busybox: str, tmp_path: Path
) -> None:
    file = tmp_path / "htpasswd"
    file.write_text(f"# pupils\n{HTPASSWD}")
    address = serve(Htpasswd=str(file))

    def come(user: str, password: str) -> int:
        signed = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        return ask(address, "GET", "/v2/_catalog", Authorization=signed)[0]

    assert ask(address, "GET", "/v2/_catalog")[0] == 401
    assert come(USER, PASSWORD) == come(USER, PASSWORD) == 200
    assert come(USER, PASSWORD + "x") == come("nobody", PASSWORD) == come("nobody", "") == come("", "") == 401
    # It is read again when it changes; half of it, or none, changes nothing.
    file.write_text("half of a li")
    assert come(USER, PASSWORD) == 200
    file.write_text(HTPASSWD.replace(USER, "another"))
    assert (come(USER, PASSWORD), come("another", PASSWORD)) == (401, 200)
    file.unlink()
    assert come("another", PASSWORD) == 200


async def test_a_password_that_is_changed_while_it_is_checked_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "htpasswd"
    file.write_text(HTPASSWD)
    gate = passwords.Passwords("", "", file)
    signed = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    hashed = passwords._hashed

    def changing(password: bytes, setting: str) -> str:
        found = hashed(password, setting)
        file.write_text(f"{USER}:$2y$05${'a' * 53}\n")
        gate._refresh()
        return found

    monkeypatch.setattr(passwords, "_hashed", changing)
    assert await gate.admit(signed)  # it was right when it was asked
    assert not await gate.admit(signed)


async def test_guesses_take_no_more_than_two_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "htpasswd"
    file.write_text(HTPASSWD)
    gate, now, most = passwords.Passwords("", "", file), set[int](), []

    def hashed(password: bytes, setting: str) -> str:
        now.add(threading.get_ident())
        most.append(len(now))
        time.sleep(0.02)
        now.discard(threading.get_ident())
        return "*"

    monkeypatch.setattr(passwords, "_hashed", hashed)
    guesses = ["Basic " + base64.b64encode(f"{USER}:{number}".encode()).decode() for number in range(20)]
    assert not any(await asyncio.gather(*map(gate.admit, guesses)))
    assert len(most) == 20 and max(most) <= 2


def test_an_htpasswd_file_that_is_none_is_refused(engine: Engine, tmp_path: Path) -> None:
    api, file = engine.client.api, tmp_path / "htpasswd"
    for text, words in (
        (None, "no such file or directory"),
        ("", "names nobody"),
        ("me:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=", "line 1: not a bcrypt password"),
    ):
        if text is not None:
            file.write_text(text)
        answer = api.post(f"{api.base_url}/dosirak/registries", json={"Port": 0, "Htpasswd": str(file)})
        assert (answer.status_code, words in answer.text) == (400, True), answer.text


def test_with_a_certificate_it_speaks_tls(
    serve: Callable[..., str], fresh_engine: Engine, busybox: str, authority: Path
) -> None:
    address = serve(Certificate=f"{authority}/server.pem", Key=f"{authority}/server.key")
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(address, "GET", "/v2/")
    assert "Pull complete" in fresh_engine.docker("pull", f"{address}/{busybox}").stdout


def test_a_blob_of_another_repository_is_not_given_out(docker: Docker, serve: Callable[..., str], busybox: str) -> None:
    address = serve()
    _, _, body = ask(address, "GET", f"/v2/{busybox.partition(':')[0]}/manifests/latest")
    layer = json.loads(body)["layers"][0]["digest"]
    assert ask(address, "HEAD", f"/v2/library/{busybox.partition(':')[0]}/blobs/{layer}")[0] == 200
    assert ask(address, "HEAD", f"/v2/another/blobs/{layer}")[0] == 404


def test_a_port_that_is_taken_and_an_address_that_is_none_are_refused(
    engine: Engine, serve: Callable[..., str]
) -> None:
    api, address = engine.client.api, serve()
    for wanted, status, words in (
        ({"Port": int(address.rpartition(":")[2])}, 409, "bind: address already in use"),
        ({"Host": "example"}, 400, "is no IP address"),
        ({"Port": 70000}, 400, "invalid port"),
        ({"Port": 0, "User": "me"}, 400, "needs both"),
        ({"Port": 0, "Certificate": "/none"}, 400, "/none: no certificate"),
    ):
        answer = api.post(f"{api.base_url}/dosirak/registries", json=wanted)
        assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert api.delete(f"{api.base_url}/dosirak/registries/127.0.0.1:1").status_code == 404


def test_no_web_page_reads_or_pushes(serve: Callable[..., str], busybox: str) -> None:
    # By a request from elsewhere, or by a name of its own that leads here (DNS rebinding).
    address = serve()
    port = address.rpartition(":")[2]
    for host in (
        "evil.example",
        f"evil.example:{port}",
        f"localhost.evil.example:{port}",
        f"127.0.0.1.evil.example:{port}",
    ):
        assert code(ask(address, "GET", "/v2/_catalog", Host=host)) == (403, "DENIED")
    for origin in ("http://evil.example", "null", f"http://{address}"):
        assert code(ask(address, "POST", "/v2/x/blobs/uploads/", Origin=origin)) == (403, "DENIED")
    # The control: what clients send is answered; and a password or a certificate is a wall of its own.
    for host in (address, f"localhost:{port}", f"[::1]:{port}", f"{socket.gethostname()}:{port}", "192.0.2.7"):
        assert ask(address, "GET", "/v2/_catalog", Host=host)[0] == 200
    closed = serve(User="teacher", Password="secret")
    assert code(ask(closed, "GET", "/v2/_catalog", Host="registry.school.example")) == (401, "UNAUTHORIZED")
    signed = "Basic " + base64.b64encode(b"teacher:secret").decode()
    assert ask(closed, "GET", "/v2/_catalog", Host="registry.school.example", Authorization=signed)[0] == 200
