"""The nf_tables table as data."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from dosirak.engine.networks import rules
from dosirak.engine.networks.firewall import Firewall
from dosirak.engine.networks.nftables import Nftables, NftError
from dosirak.engine.networks.rules import ANY, Bridge, Publication
from support.wires import Namespace, tables

BRIDGES = [Bridge("dosirak0", IPv4Network("172.17.0.0/16")), Bridge("br-1", IPv4Network("172.18.0.0/16"))]
EVERYWHERE = Publication(6, ANY, 8080, IPv4Address("172.17.0.2"), 80)
ONE_ADDRESS = Publication(17, IPv4Address("192.0.2.1"), 5353, IPv4Address("172.17.0.2"), 53)


def elements(commands: list[rules.Command], verb: str) -> dict[str, object]:
    return {c[verb]["element"]["name"]: c[verb]["element"]["elem"][0] for c in commands if "element" in c.get(verb, {})}


def test_every_command_is_about_the_engine_s_own_table() -> None:
    commands = rules.install("dosirak", BRIDGES, [EVERYWHERE, ONE_ADDRESS])
    for command in commands:
        (what,) = command.values()
        ((kind, fields),) = what.items()
        assert fields["family"] == "ip"
        assert fields["name" if kind == "table" else "table"] == "dosirak"
    assert {verb for command in commands for verb in command} == {"add", "flush"}


def test_a_port_of_every_address_is_found_by_protocol_and_port() -> None:
    key = {"concat": [6, 8080]}
    assert elements(rules.publish("t", [EVERYWHERE]), "add") == {
        "any_address": [key, "172.17.0.2"],
        "any_port": [key, 80],
    }
    assert elements(rules.withdraw("t", [EVERYWHERE]), "delete") == {"any_address": key, "any_port": key}


def test_a_port_of_one_address_is_found_by_that_too() -> None:
    key = {"concat": [17, "192.0.2.1", 5353]}
    assert elements(rules.publish("t", [ONE_ADDRESS]), "add") == {
        "host_address": [key, "172.17.0.2"],
        "host_port": [key, 53],
    }


def test_the_whole_table_can_be_written_again_and_again(host: Namespace) -> None:
    nftables = Nftables()
    for _ in range(3):
        nftables.run(rules.install("dosirak", BRIDGES, [EVERYWHERE, ONE_ADDRESS]))
    for _ in range(2):
        nftables.run(rules.remove("dosirak"))
    assert tables(host) == []
    nftables.close()


def test_a_refused_transaction_does_nothing_and_says_why(host: Namespace) -> None:
    nftables = Nftables()
    commands = [*rules.install("dosirak", BRIDGES, []), *rules.withdraw("dosirak", [EVERYWHERE])]
    with pytest.raises(NftError, match=r"nf_tables: .*No such file or directory"):
        nftables.run(commands)
    assert tables(host) == []
    nftables.close()


def test_the_table_goes_with_the_last_bridge(host: Namespace) -> None:
    firewall = Firewall("dosirak")
    firewall.install(BRIDGES)
    firewall.publish([EVERYWHERE])
    firewall.uninstall("br-1")
    assert tables(host) == ["dosirak"]
    firewall.uninstall("dosirak0")
    assert tables(host) == []
    firewall.close()


def test_a_port_that_could_not_be_opened_is_forgotten(host: Namespace) -> None:
    firewall = Firewall("dosirak")
    firewall.install(BRIDGES)
    firewall.publish([EVERYWHERE])
    other = Publication(6, ANY, 8080, IPv4Address("172.17.0.3"), 80)
    with pytest.raises(NftError):
        firewall.publish([other])
    firewall.withdraw([EVERYWHERE])
    firewall.publish([other])
    for bridge in BRIDGES:
        firewall.uninstall(bridge.name)
    firewall.close()
