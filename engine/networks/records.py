"""The room's part of the state database: networks, endpoints, leases. Every statement it runs stands here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import msgspec

from dosirak.engine.errors import HostLimit
from dosirak.engine.networks.model import Endpoint, Network
from dosirak.engine.state import Damaged, Database, decode_all

_log = logging.getLogger(__name__)
_SOON = 0.05  # seconds
_encode = msgspec.json.Encoder().encode
_network = msgspec.json.Decoder(Network).decode
_endpoint = msgspec.json.Decoder(Endpoint).decode


class Records:
    """Networks, endpoints and leases as the database keeps them."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.damaged_networks = Damaged(db, "network")
        self.damaged_endpoints = Damaged(db, "endpoint")
        self._owed: list[Endpoint] = []
        self._soon: asyncio.TimerHandle | None = None

    def networks(self) -> list[Network]:
        """All networks, without endpoints. What can't be read is put aside."""
        rows = self._db.execute("SELECT id, name, doc FROM networks").fetchall()
        plain = ((identifier, document) for identifier, _, document in rows)
        networks, damaged = decode_all("network", plain, _network, "put aside; make it again, or remove it")
        with self._db.transaction():
            for identifier, name, document in rows:
                if identifier in damaged:
                    self.damaged_networks.keep(identifier, name, document)
                    self._db.execute("DELETE FROM networks WHERE id = ?", (identifier,))
        return networks

    def save_network(self, network: Network) -> None:
        """A new network, or its new shape."""
        doc = _encode(msgspec.structs.replace(network, endpoints=()))
        self._db.execute(
            "INSERT INTO networks (id, name, doc) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc",
            (network.id, network.name, doc),
        )

    def endpoints(self) -> list[Endpoint]:
        """Every container's connections, in the order of their making. A container of which one can't be read loses
        all: what it had is put aside."""
        rows = self._db.execute("SELECT container, network, doc FROM endpoints ORDER BY rowid").fetchall()
        plain = ((container, document) for container, _, document in rows)
        endpoints, damaged = decode_all(
            "endpoint of container",
            plain,
            _endpoint,
            "put aside, and disconnected until it is restarted or connected again",
        )
        self._put_aside([row for row in rows if row[0] in damaged])
        return [endpoint for endpoint in endpoints if endpoint.container not in damaged]

    def cut_off(self, endpoint: Endpoint) -> None:
        """A running container's connection to a network that is there no more. Raises HostLimit."""
        _log.warning(
            "container %s: disconnected from network %s, whose record is damaged: restart it, or connect it again",
            endpoint.container[:12],
            endpoint.network,
        )
        self._put_aside([(endpoint.container, endpoint.network_id, _encode(endpoint))])

    def ended(self, container: str) -> None:
        """A container has ended: it misses no connection. On a full disk that is found out at the next start."""
        for key, name in self.damaged_endpoints:
            if key == container:
                with suppress(HostLimit):
                    self.damaged_endpoints.forget(key, name)

    def _put_aside(self, rows: Iterable[tuple[str, str, bytes]]) -> None:
        names = dict(self._db.execute("SELECT id, name FROM networks").fetchall()) | dict(self.damaged_networks)
        with self._db.transaction():
            for container, network, document in rows:
                self.damaged_endpoints.keep(container, names.get(network, network), document)
                self._db.execute("DELETE FROM endpoints WHERE container = ? AND network = ?", (container, network))
                self._db.execute("DELETE FROM leases WHERE network = ? AND owner = ?", (network, container))

    def remove_network(self, network: Network) -> None:
        """A network that is no more."""
        self._db.execute("DELETE FROM networks WHERE id = ?", (network.id,))

    def add(self, endpoints: Iterable[Endpoint]) -> None:
        """Connections and the leases of their addresses, in one commit. Raises HostLimit."""
        with self._removing():
            for endpoint in endpoints:
                if endpoint.ip:
                    self._db.execute(
                        "INSERT INTO leases (network, address, owner) VALUES (?, ?, ?)",
                        (endpoint.network_id, endpoint.ip, endpoint.container),
                    )
                self._db.execute(
                    "INSERT INTO endpoints (container, network, doc) VALUES (?, ?, ?)",
                    (endpoint.container, endpoint.network_id, _encode(endpoint)),
                )
                self.damaged_endpoints.forget(endpoint.container, endpoint.network)

    def save(self, endpoints: Iterable[Endpoint]) -> None:
        """Connections' new shapes (never another address), in one commit. Raises HostLimit."""
        with self._removing():
            for endpoint in endpoints:
                self._db.execute(
                    "UPDATE endpoints SET doc = ? WHERE container = ? AND network = ?",
                    (_encode(endpoint), endpoint.container, endpoint.network_id),
                )

    def remove(self, endpoints: Iterable[Endpoint]) -> None:
        """These connections and their leases, in a moment or with the next change: a service that comes before frees
        what no running container has. Who takes one away from a container that runs on has another change to make."""
        self._owed += endpoints
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(_SOON, self.settle)

    def settle(self) -> None:
        """Remove now what is owed. On a full disk it goes together with the next change."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if not self._owed:
            return
        try:
            with self._removing():
                pass
        except HostLimit as error:
            _log.warning("%s: %d connections stay on record for now", error, len(self._owed))

    @contextmanager
    def _removing(self) -> Iterator[None]:
        """A commit that first removes the connections that are owed."""
        with self._db.transaction():
            for endpoint in self._owed:
                key = (endpoint.container, endpoint.network_id)
                self._db.execute("DELETE FROM endpoints WHERE container = ? AND network = ?", key)
                key = (endpoint.network_id, endpoint.ip)
                self._db.execute("DELETE FROM leases WHERE network = ? AND address = ?", key)
            yield
        self._owed.clear()
