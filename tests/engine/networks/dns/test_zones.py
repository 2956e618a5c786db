"""Who is told what: names, aliases, links, networks, addresses."""

from __future__ import annotations

import dnslib
import pytest

from dosirak.engine.networks.dns import packets
from dosirak.engine.networks.dns.zones import Box, Zones

WEB, DB, ALSO, OTHER = (bytes((10, 0, 0, number)) for number in range(1, 5))


def box(*networks: str, links: dict[str, dict[str, str]] | None = None, **fields: bool) -> Box:
    settings = {"outside": True, "whole": False, **fields}
    return Box(networks, links or {}, [("192.0.2.1", False)], **settings)


@pytest.fixture
def zones() -> Zones:
    made = Zones()
    made.add("e1", "n1", "front", ["web", "www", "0123456789ab"], WEB)
    made.add("e2", "n1", "front", ["db", "store"], DB)
    made.add("e3", "n1", "front", ["db2", "store"], ALSO)
    made.add("e4", "n2", "back.end", ["web", "Secret"], OTHER)
    return made


def ask(zones: Zones, box: Box, name: str, kind: str = "A") -> list[tuple[int, bytes]] | None:
    return zones.answer(box, packets.read(dnslib.DNSRecord.question(name, kind).pack()))


def addresses(zones: Zones, box: Box, name: str) -> list[bytes] | None:
    found = ask(zones, box, name)
    return None if found is None else [data for _, data in found]


@pytest.mark.parametrize("name", ["web", "WWW", "0123456789ab", "web.front", "Web.FRONT."])
def test_a_neighbour_is_found_by_each_of_its_names(zones: Zones, name: str) -> None:
    assert addresses(zones, box("n1"), name) == [WEB]


def test_names_of_other_networks_are_not_told(zones: Zones) -> None:
    assert addresses(zones, box("n1"), "secret") is None
    assert addresses(zones, box("n2"), "db") is None
    assert addresses(zones, box("n1"), "web.back.end") is None
    assert ask(zones, box("n1"), "4.0.0.10.in-addr.arpa", "PTR") is None


def test_of_several_networks_the_first_counts_and_each_can_be_named(zones: Zones) -> None:
    assert addresses(zones, box("n1", "n2"), "web") == [WEB]
    assert addresses(zones, box("n2", "n1"), "web") == [OTHER]
    assert addresses(zones, box("n1", "n2"), "web.back.end") == [OTHER]


def test_a_shared_name_goes_round(zones: Zones) -> None:
    seen = [addresses(zones, box("n1"), "store") for _ in range(4)]
    assert all(sorted(found or []) == [DB, ALSO] for found in seen)
    assert {(found or [b""])[0] for found in seen} == {DB, ALSO}


def test_a_link_is_the_container_s_own(zones: Zones) -> None:
    linked = box("n1", links={"n1": {"MySQL": "db", "web": "db2", "gone": "nobody"}})
    assert addresses(zones, linked, "mysql") == [DB]
    assert addresses(zones, linked, "web") == [ALSO], "before a neighbour of that name"
    assert addresses(zones, linked, "gone") is None
    assert addresses(zones, box("n1"), "mysql") is None


def test_a_known_name_has_no_other_records_and_nobody_else_is_asked(zones: Zones) -> None:
    for kind in ("AAAA", "MX", "TXT", "SRV"):
        assert ask(zones, box("n1"), "web", kind) == []
        assert ask(zones, box("n1"), "example.org", kind) is None


def test_an_address_has_its_owner_s_first_name(zones: Zones) -> None:
    assert ask(zones, box("n1"), "1.0.0.10.in-addr.arpa", "PTR") == [(packets.PTR, packets.encode_name("web.front"))]
    for name in ("1.0.0.10.in-addr.arpa.", "9.0.0.10.in-addr.arpa", "1.0.10.in-addr.arpa", "x.0.0.10.in-addr.arpa"):
        assert name.endswith(".") or ask(zones, box("n1"), name, "PTR") is None


def test_who_has_gone_is_forgotten(zones: Zones) -> None:
    zones.remove("e1")
    zones.remove("e1")
    assert addresses(zones, box("n1"), "web") is None
    assert ask(zones, box("n1"), "1.0.0.10.in-addr.arpa", "PTR") is None
    zones.add("e2", "n1", "front", ["renamed"], DB)
    assert addresses(zones, box("n1"), "renamed") == [DB] and addresses(zones, box("n1"), "store") == [ALSO]
    for endpoint in zones.endpoints:
        zones.remove(endpoint)
    assert zones._networks == {}


def test_the_root_is_nobody_s_name(zones: Zones) -> None:
    assert ask(zones, box("n1"), ".", "A") is None


def test_an_internal_network_asks_nobody_outside() -> None:
    servers = [("192.0.2.1", False), ("10.0.0.9", True)]
    inside = Box(["n1"], {}, servers, outside=False, whole=False)
    assert inside.servers == (("10.0.0.9", True),)


def test_addresses_of_both_kinds_have_the_same_names() -> None:
    zones = Zones()
    six = bytes.fromhex("fd" + "00" * 14 + "09")
    zones.add("e1", "n1", "front", ["web"], WEB, six)
    zones.add("e2", "n1", "front", ["db"], DB)
    assert ask(zones, box("n1"), "web") == [(packets.A, WEB)] and ask(zones, box("n1"), "web", "AAAA") == [
        (packets.AAAA, six)
    ]
    assert ask(zones, box("n1"), "db", "AAAA") == []
    reverse = ".".join(reversed(six.hex())) + ".ip6.arpa"
    assert ask(zones, box("n1"), reverse, "PTR") == ask(zones, box("n1"), "1.0.0.10.in-addr.arpa", "PTR")
    assert ask(zones, box("n2"), reverse, "PTR") is None
    zones.remove("e1")
    assert ask(zones, box("n1"), reverse, "PTR") is None
