"""Every route with parameters, headers and bodies that nobody should send: an answer each time, in Docker's form.

The seed is printed; `DOSIRAK_FUZZ_SEED=N` runs the same requests again, `DOSIRAK_FUZZ_EXAMPLES=N` more of them.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import random
import re
import socket
import types
import typing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from docker.errors import APIError
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from dosirak.engine.api import server
from dosirak.engine.containers.documents import (
    ContainerConfig,
    CreateRequest,
    Document,
    ExecConfig,
    HostConfig,
    Mount,
)
from support.engines import Engine

SEED = int(os.environ.get("DOSIRAK_FUZZ_SEED", random.SystemRandom().randrange(1 << 32)))
EXAMPLES = int(os.environ.get("DOSIRAK_FUZZ_EXAMPLES", "400"))

SWARM = re.compile("/(swarm|nodes|services|tasks|secrets|configs)")
ROUTES = sorted({(route.method, route.pattern) for resource in server._RESOURCES for route in resource.ROUTES})
ROUTES = [route for route in ROUTES if not SWARM.match(route[1])]
# Where most of the parameters go.
BUSY = [("POST", "/containers/create"), ("POST", "/containers/{name}/exec"), ("POST", "/containers/{name}/update")]
BUSY += [("GET", "/containers/json"), ("POST", "/networks/create")]

NAMES = st.one_of(
    st.sampled_from(["box", "busybox", "busybox:latest", "nosuch", "bridge", "data", "0" * 64, "..", "a/b", "sha256:"]),
    st.sampled_from(["%00", "-", "x" * 5000, "böse", "\n", "'\"", "a b", "{}", "@", ":", "%", "\u202e", "//", "."]),
    st.text(min_size=1, max_size=8),
)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2**31, 2**32, 2**63 - 1, -(2**63), 2**63, 10**30, 1.5, 1e308, -0.0]), st.integers()
)
WORDS = st.one_of(
    st.sampled_from(["", "0", "1", "-1", "true", "none", "host", "container:", "container:box", "default", "always"]),
    st.sampled_from(
        ["99999999999999999999", "nan", "1.5", "\x00", "{", "[]", "SIGKILL", "2999-01-01", "/", "../..", "=:"]
    ),
    st.text(max_size=12),
)
PARAMETERS = [
    *("all", "limit", "size", "filters", "force", "v", "t", "signal", "name", "h", "w", "tail", "since", "until"),
    *("stdout", "stderr", "stdin", "follow", "stream", "logs", "detachKeys", "condition", "path", "names", "platform"),
    # Not `fromSrc`: a URL would lead to other machines.
    *("fromImage", "repo", "tag", "changes", "type", "one-shot", "ps_args", "manifests", "buildargs"),
    *("dockerfile", "remote", "container", "pause", "noOverwriteDirNonDir", "copyUIDGID", "digests", "shared-size"),
]
FIELDS = sorted({name for kind in (ContainerConfig, HostConfig, Mount) for name in kind.__struct_encode_fields__})
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | WORDS, inner, max_size=4),
    max_leaves=12,
)


def values(annotation: Any) -> st.SearchStrategy[Any]:
    """Mostly of the right type, so that a request comes further than to its parsing."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        fitting = st.one_of([values(argument) for argument in arguments if argument is not type(None)])
    elif isinstance(annotation, type) and issubclass(annotation, Document):
        fitting = document(annotation)
    elif origin is list:
        fitting = st.lists(values(arguments[0]), max_size=2)
    elif origin is dict:
        fitting = st.dictionaries(WORDS | st.sampled_from(["bridge", "80/tcp", "/v"]), values(arguments[1]), max_size=2)
    elif origin is tuple:
        fitting = st.lists(NUMBERS, min_size=2, max_size=2)
    else:
        fitting = {str: WORDS, int: st.integers(-(2**64), 2**64), bool: st.booleans()}.get(annotation, ANYTHING)
    return st.integers(0, 30).flatmap(lambda dice: ANYTHING if dice == 30 else fitting)


@functools.cache
def document(kind: type[Document]) -> st.SearchStrategy[dict[str, Any]]:
    """Some fields of a document, as JSON."""
    optional = {field.encode_name: values(field.type) for field in msgspec.structs.fields(kind)}
    return st.lists(st.sampled_from(sorted(optional)), max_size=3, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: optional[name] for name in names})
    )


BODIES = st.one_of(
    document(CreateRequest),
    st.fixed_dictionaries({"HostConfig": document(HostConfig)}),
    st.fixed_dictionaries({"HostConfig": st.fixed_dictionaries({"Mounts": st.lists(document(Mount), max_size=2)})}),
    document(ExecConfig),
    document(HostConfig),
    st.dictionaries(st.sampled_from(["Name", "Driver", "Labels", "Container", "Options", "Detach", "Tty"]), ANYTHING),
    ANYTHING,
)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "X-Registry-Auth", "Connection", "Upgrade", "Origin", "Accept", "Expect"]),
    st.sampled_from(
        ["application/json", "text/plain", "application/x-tar", "tcp", "Upgrade", "", "100-continue", "=" * 9000]
    ),
    max_size=2,
)
REQUEST = st.fixed_dictionaries(
    {
        "route": st.sampled_from(ROUTES) | st.sampled_from(BUSY),
        "version": st.sampled_from(["", "/v1.24", "/v1.41", "/v1.44", "/v1.51", "/v1.0", "/v9.9", "/v1.", "/v1.51.0"]),
        "names": st.lists(NAMES, min_size=2, max_size=2),
        "query": st.dictionaries(st.sampled_from(PARAMETERS), WORDS, max_size=4),
        "filters": st.none() | st.dictionaries(WORDS, st.lists(WORDS, max_size=2), max_size=2),
        "body": st.none() | BODIES,
        "meant": st.booleans(),
        "headers": HEADERS,
    }
)
# The engine is asked whether anything else goes on; these would wait for a client, or go on for a long while.
PATIENT = ("/attach", "/start", "/wait", "/events", "/logs", "/stats", "/attach/ws", "/session", "/grpc")


class Fuzzer:
    """One engine and requests to it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def ask(self, request: dict[str, Any]) -> tuple[int, bytes]:
        """Send it; the status, and the body unless that may never end."""
        method, pattern = request["route"]
        # Half of the requests are about something that is there.
        known = {"containers": "box", "images": "busybox", "networks": "bridge", "volumes": "data"}
        subject = known.get(pattern.split("/")[1])
        names = iter(([subject] if request["meant"] and subject else []) + request["names"])
        path = re.sub(r"\{\w+\}", lambda _: quote(next(names), safe="/:@"), pattern)
        query = {**request["query"]}
        if request["filters"] is not None:
            query["filters"] = json.dumps(request["filters"])
        if pattern.endswith(("/stop", "/restart")):
            query = {"t": "0"}  # it would take as long as it was told to
        parameters = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        body = None
        if request["body"] is not None:
            sent = request["body"]
            if request["meant"] and isinstance(sent, dict):
                sent = sent | {"Image": "busybox", "Cmd": ["true"]}
            body = json.dumps(sent).encode()
        headers = {"Content-Type": "application/json"} if body else {}
        connection = http.client.HTTPConnection("docker", timeout=20)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(20)
        connection.sock.connect(str(self.engine.socket))
        with contextlib.closing(connection):
            connection.request(method, f"{request['version']}{path}?{parameters}", body, headers | request["headers"])
            response = connection.getresponse()
            if response.status == 101 or (response.status == 200 and pattern.endswith(PATIENT)):
                return response.status, b""
            return response.status, response.read()


def test_every_request_gets_an_answer_in_docker_s_form(fresh_engine: Engine) -> None:
    fresh_engine.import_busybox()
    fuzzer = Fuzzer(fresh_engine)
    fresh_engine.docker(
        "run", "-d", "--name", "box", "--stop-signal", "KILL", "-v", "data:/data", "busybox", "sleep", "1000"
    )
    print(f"DOSIRAK_FUZZ_SEED={SEED}")

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(REQUEST)
    def sent(request: dict[str, Any]) -> None:
        status, body = fuzzer.ask(request)
        assert 200 <= status < 600 or status == 101
        if status >= 400 and request["route"][0] != "HEAD":
            with contextlib.suppress(ValueError):
                message = json.loads(body)["message"]
                assert "internal error" not in message, message
                assert "Traceback" not in message, message
            assert status != 500 or b"internal error" not in body, body
            assert body.strip(), "an error without words"

    sent()
    for row in fresh_engine.client.api.containers(all=True):
        # What was made of such a request can be looked at, started or refused, and removed.
        fresh_engine.client.api.inspect_container(row["Id"])
        with contextlib.suppress(APIError):
            fresh_engine.client.api.start(row["Id"])
        fresh_engine.client.api.remove_container(row["Id"], force=True, v=True)
    log = fresh_engine.log
    assert "Traceback" not in log, log[log.index("Traceback") - 300 :][:3000]
    assert Path(f"/proc/{fresh_engine.pid}").exists()
