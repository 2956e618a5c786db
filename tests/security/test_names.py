"""Names, ids and words of a client that would be paths, lines or programs if somebody took them for that."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.parse
from collections.abc import Mapping
from typing import Any

import pytest

from support.engines import Engine

from .conftest import Marker


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def ask(engine: Engine, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, str]:
    """A request as it stands: no client cleans it up."""
    connection = _Unix(str(engine.socket))
    headers = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(errors="replace")
    connection.close()
    return found


TRICKS = [
    "../../etc/passwd",
    "..",
    ".",
    "/etc/passwd",
    "a/../../b",
    "a\0b",
    "a\nb",
    "-rf",
    "--privileged",
    "a b",
    "a;true",
    "$(true)",
    "`true`",
    "%2e%2e%2f",
    "ａ",
    "a" * 5000,
]


# Docker takes these for networks; no file, and no command, is ever named after one.
FINE_FOR_NETWORKS = {"..", ".", "a;true", "$(true)", "`true`", "%2e%2e%2f", "ａ", "a" * 5000}


@pytest.mark.parametrize("name", TRICKS)
@pytest.mark.parametrize("kind", ["container", "volume", "network"])
def test_a_name_is_a_name(engine: Engine, busybox: str, kind: str, name: str) -> None:
    quoted = urllib.parse.quote(name, safe="")
    if kind == "container":
        status, said = ask(engine, "POST", f"/v1.43/containers/create?name={quoted}", {"Image": busybox})
    else:
        status, said = ask(engine, "POST", f"/v1.43/{kind}s/create", {"Name": name})
    if status == 201:
        assert (kind == "network" and name in FINE_FOR_NETWORKS) or name == "a" * 5000, said
        found = json.loads(said)
        ask(engine, "DELETE", f"/v1.43/{kind}s/{found.get('Id') or found['Name']}")
    else:
        assert status in (400, 404, 414, 501), said


@pytest.mark.parametrize("name", TRICKS)
def test_an_id_is_no_path(engine: Engine, name: str, marker: Marker) -> None:
    quoted = urllib.parse.quote(name, safe="")
    for path in ("containers/{}/json", "containers/{}/logs?stdout=1", "exec/{}/json", "volumes/{}", "networks/{}"):
        status, said = ask(engine, "GET", "/v1.43/" + path.format(quoted))
        assert 400 <= status < 500, (path, status)
        assert "root:" not in said
    climbing = urllib.parse.quote(f"../../../../../../..{marker.folder}", safe="")
    for path in ("containers", "volumes", "images", "networks"):
        assert ask(engine, "DELETE", f"/v1.43/{path}/{climbing}?force=1")[0] in (
            204,
            400,
            404,
        )  # 204: force of a volume


def test_a_good_name_is_taken(engine: Engine, busybox: str) -> None:
    # The control of the two above.
    status, _ = ask(engine, "POST", "/v1.43/containers/create?name=good_Name-1.x", {"Image": busybox})
    assert status == 201
    assert ask(engine, "GET", "/v1.43/containers/good_Name-1.x/json")[0] == 200


LINE = "x\n6.6.6.6 registry.example"


@pytest.mark.parametrize(
    "body",
    [
        {"Hostname": LINE},
        {"Domainname": LINE},
        {"Hostname": "a b"},
        {"HostConfig": {"ExtraHosts": [f"a:{LINE}"]}},
        {"HostConfig": {"ExtraHosts": ["a\n6.6.6.6 b:1.2.3.4"]}},
        {"HostConfig": {"Dns": ["1.1.1.1\nnameserver 6.6.6.6"]}},
        {"HostConfig": {"DnsSearch": ["a\nnameserver 6.6.6.6"]}},
        {"HostConfig": {"DnsOptions": ["a\nnameserver 6.6.6.6"]}},
        {"HostConfig": {"GroupAdd": ["a\nb"]}},
        {"HostConfig": {"Sysctls": {"net.ipv4.ip_forward\nx": "1"}}},
        {"Env": ["a\0b=c"]},
        {"Env": ["=c"]},
        {"User": "root\0x"},
        {"Cmd": ["a\0b"]},
        {"WorkingDir": "a\0b"},
    ],
)
def test_no_word_of_a_client_becomes_a_line_of_a_file(engine: Engine, busybox: str, body: dict[str, Any]) -> None:
    status, said = ask(engine, "POST", "/v1.43/containers/create", {"Image": busybox, "Cmd": ["true"], **body})
    assert status == 400, said


def test_values_with_lines_stay_where_they_belong(engine: Engine, busybox: str) -> None:
    # The control: an environment variable may have lines, and no file gets them.
    flags = ("-e", "A=x\n6.6.6.6 registry.example", "--label", "l=x\n6.6.6.6 registry.example")
    said = engine.docker(
        "run", "--rm", *flags, busybox, "sh", "-c", 'echo "$A"; cat /etc/hosts /etc/resolv.conf'
    ).stdout
    assert said.count("6.6.6.6") == 1


def test_nesting_and_size_of_a_document_have_an_end(engine: Engine) -> None:
    for body in (b"[" * 200_000, b'{"a":' * 100_000, b'{"Image":"' + b"x" * 20_000_000 + b'"}'):
        connection = _Unix(str(engine.socket))
        try:
            connection.request("POST", "/v1.43/containers/create", body, {"Content-Type": "application/json"})
        except BrokenPipeError:
            pass  # the engine has seen enough
        try:
            assert 400 <= connection.getresponse().status < 500
        except (ConnectionResetError, http.client.HTTPException):
            assert len(body) > 1_000_000
        connection.close()
    assert ask(engine, "GET", "/_ping")[0] == 200
