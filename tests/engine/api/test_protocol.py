"""Versions, headers, errors and malformed requests: Docker's words for each."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from support.engines import Engine

JSON = {"Content-Type": "application/json"}


def test_ping_tells_the_version_and_the_classic_builder(ask: Callable[..., Any]) -> None:
    answer = ask("GET", "/_ping")
    assert (answer.status, answer.body) == (200, b"OK")
    assert answer.headers["Api-Version"] == "1.51"
    assert answer.headers["Builder-Version"] == "1"
    assert answer.headers["Docker-Experimental"] == "false"
    assert answer.headers["Ostype"] == "linux"
    assert answer.headers["Server"].startswith("Dosirak/")
    assert answer.headers["Swarm"] == "inactive"
    head = ask("HEAD", "/_ping")
    assert (head.status, head.body, head.headers["Api-Version"]) == (200, b"", "1.51")


@pytest.mark.parametrize("version", ["1.24", "1.41", "1.43", "1.51"])
def test_every_version_in_the_range_is_answered(ask: Callable[..., Any], version: str) -> None:
    answer = ask("GET", f"/v{version}/version")
    assert answer.status == 200
    assert answer.json["ApiVersion"] == "1.51"
    assert answer.json["MinAPIVersion"] == "1.24"


def test_a_client_that_is_too_new_is_told_the_maximum(ask: Callable[..., Any]) -> None:
    answer = ask("GET", "/v1.52/info")
    assert answer.status == 400
    assert answer.message == "client version 1.52 is too new. Maximum supported API version is 1.51"


def test_a_client_that_is_too_old_is_told_the_minimum_in_plain_text(ask: Callable[..., Any]) -> None:
    answer = ask("GET", "/v1.12/info")
    assert answer.status == 400
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.body.decode().strip() == (
        "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer"
        " version"
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("GET", "/v1.43/nothing"),
        ("PUT", "/info"),
        ("GET", "/"),
        ("GET", "/containers"),
        ("GET", "/v1.43"),
    ],
)
def test_an_unknown_route_is_page_not_found(ask: Callable[..., Any], method: str, path: str) -> None:
    answer = ask(method, path)
    assert (answer.status, answer.json) == (404, {"message": "page not found"})


@pytest.mark.parametrize(
    ("method", "path", "what"),
    [
        ("GET", "/containers/x/checkpoints", "docker checkpoint"),
        ("POST", "/session", "BuildKit"),
    ],
)
def test_what_is_not_there_yet_says_so(ask: Callable[..., Any], method: str, path: str, what: str) -> None:
    answer = ask(method, path)
    assert answer.status == 501
    assert what in answer.message
    assert "not supported" in answer.message


@pytest.mark.parametrize("path", ["/swarm", "/services", "/nodes/x", "/v1.43/tasks", "/secrets/create", "/configs"])
def test_swarm_is_refused_in_dockers_words(ask: Callable[..., Any], path: str) -> None:
    answer = ask("GET", path)
    assert answer.status == 503
    assert answer.message.startswith('This node is not a swarm manager. Use "docker swarm init"')


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (b"{", JSON, "invalid JSON"),
        (b"", JSON, "config cannot be empty"),
        (b"  ", JSON, "EOF"),
        (b"[1]", JSON, "invalid JSON"),
        (b'"text"', JSON, "invalid JSON"),
        (b"{} {}", JSON, "unexpected content after JSON"),
        (b"\xff\xfe{}", JSON, "invalid JSON"),
        (b"[" * 200_000, JSON, "invalid JSON"),
        (b'{"Cmd":' * 100_000, JSON, "deep"),
        (b'{"Image": "a\\u0000b"}', JSON, "NUL"),
        (b'{"Env": ["A=\\u0000"]}', JSON, "NUL"),
        (b'{"HostConfig": {"Memory": "much"}}', JSON, "invalid JSON"),
        (b'{"HostConfig": {"Memory": 1e999}}', JSON, "invalid JSON"),
        (b'{"HostConfig": {"Memory": 9223372036854775808}}', JSON, "out of range"),
        (
            b"{}",
            {"Content-Type": "text/plain"},
            "unsupported Content-Type header (text/plain): must be 'application/json'",
        ),
        (b"{}", {}, "malformed Content-Type header"),
    ],
)
def test_a_malformed_body_is_a_400(ask: Callable[..., Any], body: bytes, headers: dict[str, str], words: str) -> None:
    answer = ask("POST", "/containers/create", body, headers)
    assert answer.status == 400, answer.body
    assert words in answer.message


def test_a_body_beyond_the_limit_is_refused(ask: Callable[..., Any]) -> None:
    answer = ask("POST", "/containers/create", b'{"Image": "' + b"a" * (9 << 20) + b'"}', JSON)
    assert answer.status == 400
    assert "too large" in answer.message


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/containers/json?limit=many", "invalid syntax"),
        ("/containers/json?limit=99999999999999999999", "invalid syntax"),
        ("/containers/json?filters={", "invalid filter"),
        ("/containers/json?filters=%7B%22nosuch%22%3A%5B%22x%22%5D%7D", "invalid filter 'nosuch'"),
        ("/images/json?filters=[]", "invalid filter"),
        ("/events?since=yesterday", "invalid value for 'since'"),
        ("/events?since=20&until=10", "cannot be after"),
        ("/containers/x%00y/json", "page not found"),
        ("/system/df?type=cake", "unknown object type: cake"),
    ],
)
def test_a_wrong_parameter_is_named(ask: Callable[..., Any], path: str, words: str) -> None:
    answer = ask("GET", path)
    assert answer.status in (400, 404)
    assert words in answer.message


def test_names_of_missing_things_come_back_in_dockers_words(ask: Callable[..., Any]) -> None:
    assert ask("GET", "/containers/nosuch/json").json == {"message": "No such container: nosuch"}
    assert ask("GET", "/containers/nosuch/json").status == 404
    assert ask("GET", "/images/nosuch/json").json == {"message": "No such image: nosuch:latest"}
    assert ask("GET", "/networks/nosuch").json == {"message": "network nosuch not found"}
    assert ask("GET", "/exec/nosuch/json").json == {"message": "No such exec instance: nosuch"}
    assert ask("GET", "/volumes/nosuch").json == {"message": "get nosuch: no such volume"}
    answer = ask("POST", "/images/create?fromImage=nosuch&tag=1")
    assert answer.status == 500
    assert answer.message == 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused'


def test_a_platform_the_store_does_not_have_is_not_found(ask: Callable[..., Any], busybox: str) -> None:
    other = "%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22mips%22%7D"
    answer = ask("GET", f"/images/{busybox}/json?platform={other}")
    assert answer.status == 404
    assert answer.message.endswith("was found but does not provide the specified platform (linux/mips)")
    assert ask("GET", f"/v1.44/images/{busybox}/json?platform={other}").status == 200  # not a parameter yet


def test_garbage_on_the_socket_hurts_nobody(engine: Engine, ask: Callable[..., Any]) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00garbage\r\n\r\n", b"\0" * 5000, b"GET\r\n\r\n", b"POST /x HTTP/9.9\r\n\r\n"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(engine.socket))
            client.sendall(garbage)
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(1000)
            assert answer == b"" or b" 400 " in answer.split(b"\r\n")[0]
    assert ask("GET", "/_ping").body == b"OK"


def test_a_head_that_never_ends_is_refused(engine: Engine) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(engine.socket))
        try:
            for _ in range(80):
                client.sendall(b"GET /_ping HTTP/1.1\r\nX: " + b"a" * 65536)
        except OSError:
            return
        assert client.recv(1000).split(b" ")[1] == b"431"


def test_a_simple_request_takes_well_under_a_millisecond(engine: Engine) -> None:
    connection = http.client.HTTPConnection("docker")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(engine.socket))
    times = []
    for _ in range(200):
        began = time.perf_counter()
        connection.request("GET", "/v1.51/version")
        connection.getresponse().read()
        times.append(time.perf_counter() - began)
    connection.close()
    # The fastest tenth: with the client's own time in it, and other things running on the machine.
    assert sorted(times)[20] < 0.003
