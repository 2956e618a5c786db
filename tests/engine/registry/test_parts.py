"""The pure parts: challenges, credentials, which servers stand behind a name."""

from __future__ import annotations

import base64
import json

import pytest

from dosirak.engine.errors import EngineError, InvalidRequest
from dosirak.engine.registry import challenge, credentials, hosts, transport


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
    known = hosts.Registries(
        insecure=["10.0.0.0/8", "own.local:5000"],
        mirrors={"docker.io": ["https://m.example"]},
        locations={"quay.io": "own.local:5000"},
    )
    found = [(scheme, end.host) for end in hosts.endpoints(domain, known) for scheme in end.schemes]
    assert found == expected


@pytest.mark.parametrize(
    "target", ["http://cdn.example/x", "https://127.0.0.1/x", "https://169.254.169.254/latest", "https://localhost/x"]
)
def test_a_registry_elsewhere_can_not_send_us_into_this_machine(target: str) -> None:
    with pytest.raises(EngineError, match="refusing to go on"):
        transport.check_way("https://registry.example/v2/", target, insecure=False)
    transport.check_way("https://registry.example/v2/", "https://cdn.example/x", insecure=False)
