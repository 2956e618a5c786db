"""Names of links and tables; MAC addresses."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from dosirak.engine.errors import InvalidRequest
from dosirak.engine.networks import names


def test_the_default_root_s_bridge_is_dosirak0() -> None:
    assert names.bridge_name(Path("/var/lib/dosirak")) == "dosirak0"
    assert names.table_name(Path("/var/lib/dosirak")) == "dosirak"


def test_each_other_root_has_names_of_its_own_that_fit_the_kernel() -> None:
    one, other = names.bridge_name(Path("/tmp/one")), names.bridge_name(Path("/tmp/other"))
    assert one != other
    assert all(name.startswith("dosirak-") and len(name) <= 15 for name in (one, other))
    assert names.table_name(Path("/tmp/one")) != names.table_name(Path("/tmp/other"))


def test_a_veth_is_named_as_docker_does() -> None:
    name = names.veth_name()
    assert name.startswith("veth") and len(name) == 11
    int(name.removeprefix("veth"), 16)


def test_the_mac_is_made_of_the_address() -> None:
    assert names.mac_of(IPv4Address("172.17.0.2")) == "02:42:ac:11:00:02"


def test_a_given_mac_is_normalised() -> None:
    assert names.parse_mac("92-D0-C6-0A-29-33") == "92:d0:c6:0a:29:33"


@pytest.mark.parametrize("text", ["", "92:d0", "zz:d0:c6:0a:29:33", "92:d0:c6:0a:29:33:44", "01:00:5e:00:00:01"])
def test_what_is_no_unicast_mac_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="invalid MAC address"):
        names.parse_mac(text)
