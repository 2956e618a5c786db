"""The pure parts: challenges, credentials, which servers stand behind a name."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosirak.engine.errors import EngineError, Forbidden, InvalidRequest
from dosirak.engine.images import Reference
from dosirak.engine.registry import challenge, configuration, credentials, errors, hosts, retries, tokens, transport


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Bearer realm="https://a/t",service="r",scope="x:y:pull,push"', [("bearer", "https://a/t")]),
        ('Basic realm="tests"', [("basic", "tests")]),
        ('Basic realm="a", Bearer realm="b",service="c"', [("basic", "a"), ("bearer", "b")]),
        ("Negotiate", [("negotiate", None)]),
        ("", []),
        ("=====", []),
    ],
)
def test_a_challenge_is_read_as_the_rfc_has_it(header: str, expected: list) -> None:
    assert [(one.scheme, one.parameters.get("realm")) for one in challenge.parse([header])] == expected


def test_credentials_are_read_padded_or_not_and_never_shown() -> None:
    text = base64.urlsafe_b64encode(json.dumps({"username": "u", "password": "pä?>"}).encode()).decode()
    for header in (text, text.rstrip("=")):
        found = credentials.decode(header)
        assert (found.username, found.password) == ("u", "pä?>")
        assert "pä" not in repr(found)
    assert not credentials.decode("")
    assert not credentials.decode(base64.urlsafe_b64encode(b"{}").decode())
    with pytest.raises(InvalidRequest, match="invalid X-Registry-Auth header"):
        credentials.decode("no base64 at all")


def test_credentials_for_a_build_are_found_by_the_registry() -> None:
    named = {credentials.HUB: {"username": "hub"}, "https://a.example:5000/v2/": {"username": "a"}}
    known = credentials.decode_all(base64.urlsafe_b64encode(json.dumps(named).encode()).decode())
    found = [credentials.of_domain(known, domain).username for domain in ("docker.io", "a.example:5000", "a.example")]
    assert found == ["hub", "a", ""]


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("docker.io", [("https", "m.example"), ("https", "registry-1.docker.io")]),
        ("ghcr.io", [("https", "ghcr.io")]),
        ("localhost:5000", [("https", "localhost:5000"), ("http", "localhost:5000")]),
        ("127.0.0.9:5000", [("https", "127.0.0.9:5000"), ("http", "127.0.0.9:5000")]),
        ("[::1]:5000", [("https", "[::1]:5000"), ("http", "[::1]:5000")]),
        ("10.1.2.3", [("https", "10.1.2.3"), ("http", "10.1.2.3")]),
        ("own.local:5000", [("https", "own.local:5000"), ("http", "own.local:5000")]),
        ("quay.io", [("https", "own.local:5000"), ("http", "own.local:5000")]),
    ],
)
def test_servers_of_a_domain_in_their_order(domain: str, expected: list) -> None:
    known = configuration.Registries(
        insecure=["10.0.0.0/8", "own.local:5000"],
        mirrors={"docker.io": ["https://m.example"]},
        locations={"quay.io": "own.local:5000"},
    )
    ends = [place.endpoint for place in hosts.places(domain, "a/b", known)]
    assert [(scheme, end.host) for end in ends for scheme in end.schemes] == expected


_CONF = """
unqualified-search-registries = ["quay.io"]
[[registry]]
prefix = "docker.io"
location = "hub.school.example/proxy"
[[registry.mirror]]
location = "near.example:5000/hub"
insecure = true
[[registry.mirror]]
location = "exact.example"
pull-from-mirror = "digest-only"
[[registry]]
prefix = "docker.io/library/secret"
blocked = true
[[registry]]
location = "plain.example"
insecure = true
[[registry]]
prefix = "docker.io/old"
location = "docker.io/new"
[[registry]]
prefix = "*.wild.example"
[[registry.mirror]]
location = "near.example:5000"
"""


@pytest.mark.parametrize(
    ("domain", "path", "digest", "expected"),
    [
        (
            "docker.io",
            "library/a",
            False,
            ["near.example:5000 hub/library/a -", "hub.school.example proxy/library/a -"],
        ),
        (
            "docker.io",
            "library/a",
            True,
            [
                "near.example:5000 hub/library/a -",
                "exact.example library/a -",
                "hub.school.example proxy/library/a -",
            ],
        ),
        ("docker.io", "old/a", False, ["registry-1.docker.io new/a +"]),
        ("docker.io.example", "x", False, ["docker.io.example x +"]),
        ("plain.example", "x/y", False, ["plain.example x/y +"]),
        ("a.wild.example", "x", False, ["near.example:5000 x -", "a.wild.example x +"]),
        ("wild.example", "x", False, ["wild.example x +"]),
    ],
)
def test_a_registries_conf_says_where_images_are(
    tmp_path: Path, domain: str, path: str, digest: bool, expected: list[str]
) -> None:
    (tmp_path / "registries.conf").write_text(_CONF)
    known = configuration.Registries(rules=tuple(configuration.read_rules(tmp_path / "registries.conf")))
    found = hosts.places(domain, path, known, digest=digest)
    # "-": another server than the name says gets no credentials.
    said = [f"{one.endpoint.host} {one.repository} {'-' if one.endpoint.anonymous else '+'}" for one in found]
    assert said == expected
    assert hosts.registry("plain.example", "", known).endpoint.insecure
    with pytest.raises(Forbidden, match=r"^registry docker\.io/library/secret is blocked in .*registries\.conf$"):
        hosts.places("docker.io", "library/secret/deeper", known)


@pytest.mark.parametrize("text", ["[[registry]]\nprefix = 3", "[[registry]]\ninsecure = true", "[[registry"])
def test_a_registries_conf_that_is_none_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "registries.conf").write_text(text)
    with pytest.raises(InvalidRequest, match=r"registries\.conf"):
        configuration.read_rules(tmp_path / "registries.conf")


_HUB = Reference("docker.io", "library/x", "1")


@pytest.mark.parametrize(
    ("status", "body", "challenges", "http_status", "expected"),
    [
        (
            401,
            b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
            ['Bearer realm="https://a/t",error="insufficient_scope"'],
            404,
            "pull access denied for x, repository does not exist or may require 'docker login': denied: requested "
            "access to the resource is denied",
        ),
        (403, b"", [], 404, "pull access denied for x, .* 'docker login': denied: requested access to"),
        (401, b"<html>", [], 401, "unauthorized: authentication required"),
        (401, b"{}", ['Bearer error="invalid_token"'], 401, "unauthorized: authentication required"),
        (404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', [], 404, "manifest for x:1 not found: manifest unknown: "),
        (
            404,
            b'{"errors":[{"code":"NAME_UNKNOWN"}]}',
            [],
            404,
            "repository x not found: name unknown: repository name",
        ),
        (404, b"nginx", [], 404, "manifest for x:1 not found: received unexpected HTTP status: 404"),
        (429, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow"}]}', [], 500, "toomanyrequests: slow"),
        (429, b"", [], 500, "toomanyrequests: too many requests"),
        (502, b"bad gateway", [], 500, "received unexpected HTTP status: 502"),
        (400, b'{"details":"so there"}', [], 500, "so there"),
        (500, b"[" * 100_000, [], 500, "received unexpected HTTP status: 500"),
    ],
)
def test_refusals_are_said_in_dockers_words(
    status: int, body: bytes, challenges: list[str], http_status: int, expected: str
) -> None:
    found = errors.of_pull(errors.from_answer(status, body, challenges), _HUB)
    assert re.match(expected, found.message), found.message
    assert found.status == http_status


@given(st.lists(st.text(max_size=200) | st.from_regex(r'[A-Za-z]+( ?[a-z]+="[^"]*",?)*')))
def test_no_challenge_is_too_odd_to_be_read(headers: list[str]) -> None:
    for one in challenge.parse(headers):
        assert one.scheme.isalpha()
    errors.from_answer(401, b"", headers)


@given(st.text(max_size=80) | st.datetimes().map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT")))
def test_whatever_retry_after_says_is_a_time(text: str) -> None:
    assert 0 <= retries.retry_after(text) < float("inf")


async def test_nobody_waits_longer_than_a_person_would() -> None:
    begun = time.monotonic()
    for asked in (retries.LONGEST_PAUSE + 1, 3600.0):
        with pytest.raises(errors.RegistryError, match=f"asks to wait {asked:.0f} seconds"):
            await retries.Tries().pause(errors.from_answer(429, b"", retry_after=asked))
    assert time.monotonic() - begun < 5


def test_retry_after_is_seconds_or_a_date() -> None:
    soon = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=10), usegmt=True)
    assert retries.retry_after("7") == 7
    assert 8 < retries.retry_after(soon) < 11
    assert retries.retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize(
    "target", ["http://cdn.example/x", "https://127.0.0.1/x", "https://169.254.169.254/latest", "https://localhost/x"]
)
def test_a_registry_elsewhere_can_not_send_us_into_this_machine(target: str) -> None:
    with pytest.raises(EngineError, match="refusing to go on"):
        transport.check_way("https://registry.example/v2/", target, insecure=False)
    transport.check_way("https://registry.example/v2/", "https://cdn.example/x", insecure=False)


@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps).map(str.encode)
)
def test_no_refusal_and_no_token_is_too_odd_to_be_read(body: bytes) -> None:
    assert errors.from_answer(400, body).message
    with contextlib.suppress(EngineError):
        token, identity = tokens.read(body)
        assert token.isprintable() and identity.isprintable()
