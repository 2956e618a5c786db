"""A host of the test's own: a network namespace that the test's thread moves into, with another one "outside" of it.

What the engine does to "the host" so happens to a real kernel's network stack, but not to this machine's, and every
test ends by looking whether that host is as it was.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dosirak.engine.networks import Networks
from dosirak.engine.networks.model import PREDEFINED
from dosirak.engine.settings import Settings
from dosirak.engine.state import Database, Events
from support.wires import Namespace, tables

HOST_ADDRESS = "198.51.100.1"
OUTSIDE_ADDRESS = "198.51.100.2"


@pytest.fixture
def host() -> Iterator[Namespace]:
    """The test's thread sits in a namespace of its own, whose only link besides the loopback leads to `outside`."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces of the real kernel")
    home = Namespace.current()
    own = Namespace.new()
    # A new namespace takes IPv4 settings over from the machine's (net.core.devconf_inherit_init_net).
    own.set_sysctl("ipv4/ip_forward", "0")
    own.enter()
    try:
        yield own
        left = [link for link in own.links() if link not in ("lo", "uplink")]
        assert left == [], "links are left"
        assert tables(own) == [], "nf_tables tables are left"
        assert own.sysctl("ipv4/ip_forward") == "0", "forwarding is left switched on"
    finally:
        home.enter()
        own.close()
        home.close()


@pytest.fixture
def outside(host: Namespace) -> Iterator[Namespace]:
    """A machine on the host's network. It routes the containers' addresses through the host, as an attacker would."""
    other = Namespace.new()
    host.wire("uplink", f"{HOST_ADDRESS}/24", other, "uplink", f"{OUTSIDE_ADDRESS}/24")
    other.route("172.16.0.0/12", HOST_ADDRESS)
    yield other
    other.close()
    host.wait_without("uplink")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(data=tmp_path / "data", run=tmp_path / "run")
    made.data.mkdir()
    made.run.mkdir()
    return made


@pytest.fixture
async def networks(host: Namespace, settings: Settings) -> AsyncIterator[Networks]:
    """A started engine's networks; whatever the test leaves connected is disconnected."""
    db = Database(settings.data / "state.db")
    made = Networks(db, settings, Events())
    await made.start()
    await made.readopt({})
    yield made
    for container in {endpoint.container for network in made.list() for endpoint in network.endpoints}:
        await made.disconnect(container)
    for network in made.list():
        if network.name not in PREDEFINED:
            await made.remove(network.id)
    await made.close()
    db.close()
