"""Logins as Docker's clients keep them: the file, credential helpers, and what must never be seen."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dosirak.magics.errors import DosirakError
from dosirak.magics.logins import HUB, Login, Logins

HELPER = """#!/usr/bin/env python3
import json, pathlib, sys
place = pathlib.Path(__file__).with_suffix(".json")
known = json.loads(place.read_text()) if place.exists() else {}
given = sys.stdin.read()
if sys.argv[1] == "store":
    entry = json.loads(given)
    known[entry["ServerURL"]] = entry
elif sys.argv[1] == "list":
    print(json.dumps({server: entry["Username"] for server, entry in known.items()}))
elif given not in known:
    print("credentials not found in native keychain")
    sys.exit(1)
elif sys.argv[1] == "erase":
    del known[given]
else:
    print(json.dumps(known[given]))
place.write_text(json.dumps(known))
"""


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A credential helper's suffix."""
    program = tmp_path / "bin/docker-credential-test"
    program.parent.mkdir()
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return "test"


def test_a_login_is_written_as_docker_writes_it_and_the_rest_is_kept(config: Path) -> None:
    config.parent.mkdir()
    config.write_text('{"HttpHeaders": {"a": "b"}, "auths": {"other:1": {"auth": "dTpw"}}}')
    config.chmod(0o600)
    assert Logins().keep(Login("reg.example:5000", "me", "s:cret"))
    written = json.loads(config.read_text())
    assert written["auths"]["reg.example:5000"] == {"auth": "bWU6czpjcmV0"}
    assert written["HttpHeaders"] == {"a": "b"}
    assert config.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in config.parent.iterdir()] == ["config.json"]
    found = Logins().find("reg.example:5000")
    assert (found.user, found.password) == ("me", "s:cret")
    assert "s:cret" not in repr(found)
    assert Logins().find("other:1").password == "p"
    assert not Logins().find("nobody.example")
    Logins().forget("https://reg.example:5000/v2/")
    assert list(json.loads(config.read_text())["auths"]) == ["other:1"]


@pytest.mark.parametrize("name", ["docker.io", "index.docker.io", "", HUB])
def test_the_hub_has_one_key_whatever_it_is_called(config: Path, name: str) -> None:
    Logins().keep(Login(HUB, "me", identity_token="t"))
    assert Logins().find(name).identity_token == "t"
    assert json.loads(config.read_text())["auths"] == {HUB: {"auth": "bWU6", "identitytoken": "t"}}


def test_an_old_file_with_urls_and_plain_fields_is_read(config: Path) -> None:
    config.parent.mkdir()
    config.write_text('{"auths": {"https://old.example/v1/": {"username": "u", "password": "p"}}}')
    assert Logins().find("old.example").password == "p"


def test_a_helper_keeps_logins_and_tokens_and_the_file_only_names_them(config: Path, helper: str) -> None:
    config.parent.mkdir()
    config.write_text(json.dumps({"credHelpers": {"special:1": helper}}))
    logins = Logins()
    assert not logins.find("special:1")
    assert not logins.keep(Login("special:1", "me", "hidden"))
    assert Logins().find("special:1").password == "hidden"
    assert not Logins().keep(Login("special:1", identity_token="tok"))
    assert Logins().find("special:1").identity_token == "tok"
    assert "hidden" not in config.read_text() and "tok" not in config.read_text()
    Logins().keep(Login("plain:1", "you", "seen"))
    assert [(kept.server, kept.user, kept.where) for kept in Logins().all()] == [
        ("plain:1", "you", "config.json"),
        ("special:1", "<token>", "docker-credential-test"),
    ]
    assert "X-Registry-Config" in Logins().headers()
    Logins().forget("special:1")
    assert not Logins().find("special:1")


def test_a_helper_that_is_missing_or_fails_is_one_line_without_secrets(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.parent.mkdir()
    config.write_text('{"credsStore": "nowhere"}')
    with pytest.raises(DosirakError, match='exec: "docker-credential-nowhere": executable file not found'):
        Logins().find("x.example")
    assert Logins().headers() == {}
    program = tmp_path / "docker-credential-nowhere"
    program.write_text("#!/bin/sh\ncat\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(DosirakError, match="exit status 3") as caught:
        Logins().keep(Login("x.example", "me", "so secret"))
    assert "so secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "no json", '{"auths": {"x": {"auth": "bm8="}}}'])
def test_a_broken_file_is_named_and_not_overwritten(config: Path, text: str) -> None:
    config.parent.mkdir()
    config.write_text(text)
    with pytest.raises(DosirakError, match="Error loading config file"):
        Logins().find("x")
    assert config.read_text() == text
