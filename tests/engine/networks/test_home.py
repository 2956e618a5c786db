"""Whose network the bridges are in, and what that means for the host's name servers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from dosirak.engine.errors import HostLimit
from dosirak.engine.networks import PortBinding, files
from dosirak.engine.networks.home import Home
from dosirak.engine.networks.ports import Ports
from dosirak.engine.rootless.line import Line

LOOPBACK_ONLY = "nameserver 127.0.0.1\nsearch example.org\n"


@pytest.fixture
def away() -> Iterator[Home]:
    """One whose bridges are a keeper's; nobody is at the other end of the line."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line = Line(ours, os.open("/proc/self/ns/net", os.O_RDONLY), "169.254.1.1")
    yield Home(line)
    line.close()
    theirs.close()


def test_root_asks_the_hosts_servers_whatever_they_are() -> None:
    assert Home().resolvers(LOOPBACK_ONLY) == ["127.0.0.1"]
    assert Home().nameserver == ""


def test_a_user_asks_what_leads_outside_where_the_host_has_loopback_servers_only(away: Home) -> None:
    assert away.resolvers(LOOPBACK_ONLY) == ["169.254.1.1"]
    assert away.resolvers("nameserver ::1\nnameserver 9.9.9.9\n") == ["9.9.9.9"]


def test_a_containers_file_names_it_too(away: Home) -> None:
    assert "nameserver 169.254.1.1\n" in files.resolv_conf(LOOPBACK_ONLY, instead=away.nameserver)
    assert "nameserver 8.8.8.8\n" in files.resolv_conf(LOOPBACK_ONLY)
    assert "nameserver 9.9.9.9\n" in files.resolv_conf("nameserver 9.9.9.9", instead=away.nameserver)


def test_a_port_that_can_not_be_carried_is_nobodys(away: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
    assert away._keeper is not None
    away._keeper._socket.shutdown(socket.SHUT_RDWR)
    ports = Ports(away)
    for _ in range(2):  # not "already allocated"
        with pytest.raises(HostLimit, match="keeper can't be reached"):
            ports.reserve([PortBinding(80, host_ip="127.0.0.1", host_port=number)], "192.0.2.2")
    with socket.create_server(("127.0.0.1", number)):
        pass


def test_a_link_is_found_by_name_in_that_network(away: Home) -> None:
    assert away.index_of("lo") == Home().index_of("lo") == 1
    assert away.index_of("no-such-link") is None is Home().index_of("no-such-link")
