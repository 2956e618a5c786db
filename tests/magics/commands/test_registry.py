"""`pull` and `push` in a notebook's shell, on a real registry."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dosirak.magics.errors import DosirakError
from support import registries, tars
from support.registries import INDEX, Registry
from support.rootfs import busybox_tar


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    """A registry without authentication."""
    if registries.BINARY is None:
        pytest.skip("needs Debian's docker-registry")
    with registries.running() as found:
        yield found


def test_pull_and_push_tell_their_steps_and_return_what_came_of_it(
    magic: Any, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = registry.image("nb:1", [busybox_tar()])["digest"]
    name, other = f"{registry.address}/nb:1", f"{registry.address}/other:2"
    image = magic("image", f"pull {name}")
    said = "".join(capsys.readouterr())
    assert "1: Pulling from nb" in said and f"Digest: {digest}" in said
    assert name in str(image)
    magic("image", f"tag {name} {other}")
    assert magic("docker", f"push {other}") == digest
    assert "The push refers to repository" in "".join(capsys.readouterr())
    assert magic("image", f"push -q -a {registry.address}/other") == {"2": digest}
    magic("image", f"rm {name} {other}")


def test_a_login_asks_for_the_password_and_serves_pull_and_push(
    magic: Any, config: Path, busybox: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if registries.BINARY is None:
        pytest.skip("needs Debian's docker-registry")
    with registries.running(registries.HTPASSWD) as closed:
        name = f"{closed.address}/closed:1"
        magic("image", f"tag {busybox} {name}")
        answers = ["wrong", registries.PASSWORD]
        monkeypatch.setattr("getpass.getpass", lambda question: answers.pop(0))
        with pytest.raises(DosirakError, match="401 Unauthorized"):
            magic("docker", f"login -u {registries.USER} {closed.address}")
        magic("docker", f"login -u {registries.USER} {closed.address}")
        assert "Login Succeeded" in (said := "".join(capsys.readouterr()))
        assert f"WARNING! Your credentials are stored unencrypted in '{config}'" in said
        magic("docker", f"push -q {name}")
        assert list(magic("registry", "ls -q")) == [closed.address]
        assert magic("registry", "ls")["USER"].tolist() == [registries.USER]
        magic("image", f"rm {name}")
        magic("image", f"pull -q {name}")
        magic("registry", f"logout {closed.address}")
        assert json.loads(config.read_text())["auths"] == {}
        with pytest.raises(DosirakError, match="no basic auth credentials"):
            magic("image", f"pull {name}")
        magic("image", f"rm {name}")
        assert registries.PASSWORD not in "".join(capsys.readouterr())


def test_a_password_typed_into_a_cell_is_refused_a_variable_is_not(
    magic: Any, config: Path, shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for typed in (
        "-p opensesame",
        "-popensesame",
        '-p "opensesame"',
        "--password=opensesame",
        "--password 'opensesame'",
    ):
        with pytest.raises(DosirakError, match="a password in a cell stays in the notebook"):
            magic("docker", f"login -u me {typed} 127.0.0.1:1")
    with pytest.raises(DosirakError, match="a password in a cell stays"):
        magic("docker", "login -u me --password-stdin 127.0.0.1:1")
    shell.user_ns["word"] = "opensesame"
    with pytest.raises(DosirakError, match="connection refused"):
        magic("docker", "login -u opensesame -p {word} 127.0.0.1:1")
    assert "opensesame" not in "".join(capsys.readouterr())
    assert not config.exists()


def test_a_registry_is_served_listed_and_stopped(
    magic: Any, config: Path, busybox: str, capsys: pytest.CaptureFixture[str]
) -> None:
    address = magic("registry", "serve --port 0 --readonly")
    try:
        with urllib.request.urlopen(f"http://{address}/v2/_catalog", timeout=10) as answer:
            assert busybox.partition(":")[0] in json.load(answer)["repositories"]
        frame = magic("registry", "ls")
        assert frame[frame["REGISTRY"] == address][["KIND", "NOTE"]].values.tolist() == [["served", "read only"]]
    finally:
        magic("registry", f"stop {address}")
    assert list(magic("registry", "ls -q")) == []
    open_to_all = magic("registry", "serve --port 0 --host 0.0.0.0")
    magic("registry", f"stop {open_to_all}")
    assert "WARNING: whoever reaches 0.0.0.0:" in "".join(capsys.readouterr())
    with pytest.raises(DosirakError, match="no registry is served at"):
        magic("registry", f"stop {address}")


def test_what_a_registry_has_is_searched_and_looked_at_without_pulling(
    magic: Any, registry: Registry, config: Path
) -> None:
    described = registry.image("look/at-me:1", [busybox_tar()])
    frame = magic("image", f"search {registry.address}/at-me")
    assert frame["NAME"].tolist() == [f"{registry.address}/look/at-me"]
    assert frame["OFFICIAL"].dtype == bool and frame["STARS"].tolist() == [0]
    found = magic("docker", f"manifest inspect {registry.address}/look/at-me:1")
    assert found["mediaType"] == described["mediaType"] and len(found["layers"]) == 1
    verbose = magic("docker", f"manifest inspect -v {registry.address}/look/at-me:1")
    assert verbose["Ref"] == f"{registry.address}/look/at-me:1"
    assert verbose["SchemaV2Manifest"] == found == json.loads(base64.b64decode(verbose["Raw"]))
    platform = {"architecture": "amd64", "os": "linux"}
    assert verbose["Descriptor"] == {**described, "platform": platform}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [{**described, "platform": platform}]}
    registry.tag("look/at-me", "all", index)
    [entry] = magic("docker", f"manifest inspect --verbose {registry.address}/look/at-me:all")
    assert entry == {**verbose, "Ref": f"{registry.address}/look/at-me:all@{described['digest']}"}
    with pytest.raises(DosirakError, match="manifest unknown"):
        magic("docker", f"manifest inspect {registry.address}/look/at-me:2")


def test_a_cell_shows_bars_and_no_line_for_each_layer(kernel: Any, registry: Registry) -> None:
    registry.image("bars:1", [busybox_tar(), tars.files(a="b")])
    ran = kernel.run(f"%image pull {registry.address}/bars:1")
    assert not ran.error
    assert ran.data[0]["text/html"].startswith("<details") and "2 of 2 layers" in ran.data[-2]["text/plain"]
    assert "Digest: sha256:" in ran.stderr and "Pull complete" not in ran.stderr
    assert not kernel.run(f"%image rm {registry.address}/bars:1").error
