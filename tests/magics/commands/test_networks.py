"""`%network …`: requests as docker makes them, values, tables."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from dosirak.magics.errors import DosirakError, UsageError
from dosirak.magics.grammar.ipam import pools


@pytest.fixture(autouse=True)
def _clean(engine: Any) -> Any:
    yield
    engine.remove_containers()
    engine.client.networks.prune()


def test_a_network_is_made_shown_listed_and_removed(magic: Any, capsys: pytest.CaptureFixture[str]) -> None:
    made = magic("network", "create --subnet 10.77.0.0/16 --gateway 10.77.9.9 --label a=<b> --internal back")
    assert made.name == "back" == str(made)
    assert made.attrs["IPAM"]["Config"] == [{"Subnet": "10.77.0.0/16", "Gateway": "10.77.9.9"}]
    assert made.attrs["Internal"] and made.attrs["Labels"] == {"a": "<b>"}
    assert "bridge · 10.77.0.0/16 · gateway 10.77.9.9 · internal" in repr(made)
    found = magic("network", "ls")
    assert isinstance(found, pd.DataFrame) and list(found.NAME) == ["back", "bridge", "host", "none"]
    assert magic("docker", "network ls --filter type=custom --format '{{.Name}} {{.Internal}} {{.Labels}}'") == [
        "back true a=<b>"
    ]
    assert magic("network", "inspect back")["Options"] == {}
    magic("network", "rm back")
    assert capsys.readouterr().out == "back\n"
    assert list(magic("network", "ls -q --filter name=back")) == []
    with pytest.raises(DosirakError, match="network back not found"):
        magic("network", "rm back")
    magic("network", "rm -f back")


def test_containers_come_and_go(magic: Any) -> None:
    network = magic("network", "create back")
    magic("container", "run -d --name web --network back busybox sleep 60")
    found = magic("container", "run --rm --network back --network-alias x busybox nslookup web")
    assert int(found) == 0
    other = magic("container", "run -d --name db busybox sleep 60")
    connected = magic("network", "connect --alias store --link web:shop back db")
    assert connected.id == other.id and "back" in connected.attrs["NetworkSettings"]["Networks"]
    assert int(magic("container", "exec db ping -c1 shop")) == 0
    assert int(magic("container", "exec web ping -c1 store")) == 0
    network.reload()
    shown = network._repr_html_()
    assert "web" in shown and "db" in shown and "db" in repr(network)
    assert "back" not in magic("network", "disconnect back db").attrs["NetworkSettings"]["Networks"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--ip-range 10.0.0.0/24", "every ip-range or gateway must have a corresponding subnet"),
        ("--subnet 10.0.0.0/24 --gateway 10.1.0.1", "no matching subnet for gateway 10.1.0.1"),
        ("--subnet 10.0.0.0/24 --ip-range 10.1.0.0/25", "no matching subnet for range 10.1.0.0/25"),
        ("--subnet 10.0.0.0/24 --aux-address a=10.1.0.1", "no matching subnet for aux-address 10.1.0.1"),
        ("--subnet 10.0.0.0/24 --subnet 10.0.0.0/25", "multiple overlapping subnet configuration is not supported"),
        (
            "--subnet 10.0.0.0/24,10.1.0.0/24 --gateway 10.0.0.1 --gateway 10.0.0.2",
            "cannot configure multiple gateways (10.0.0.2, 10.0.0.1) for the same subnet (10.0.0.0/24)",
        ),
        ("--subnet 10.0.0.1", "invalid CIDR address: 10.0.0.1"),
    ],
)
def test_addresses_that_belong_nowhere_are_refused_as_docker_s_command_does(magic: Any, flags: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        magic("network", f"create {flags} back")
    assert words in str(caught.value)


def test_ranges_and_gateways_find_their_subnets() -> None:
    found = pools(["10.0.0.0/24", "fd00::/64"], ["10.0.0.128/25"], ["fd00::1", "10.0.0.9"], {"a": "10.0.0.2"})
    assert found == [
        {
            "Subnet": "10.0.0.0/24",
            "IPRange": "10.0.0.128/25",
            "Gateway": "10.0.0.9",
            "AuxiliaryAddresses": {"a": "10.0.0.2"},
        },
        {"Subnet": "fd00::/64", "Gateway": "fd00::1"},
    ]
