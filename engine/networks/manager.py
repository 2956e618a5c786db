"""The room's door: what other rooms ask of networks."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Interface

import msgspec

from dosirak.engine.errors import Conflict, EngineError, InvalidRequest, NotFound
from dosirak.engine.networks import bridges, links, names
from dosirak.engine.networks.addresses import choose_subnet
from dosirak.engine.networks.drivers import Attachment, Bridge, Driver, Host, Null, Request
from dosirak.engine.networks.model import PREDEFINED, Endpoint, Network, PortBinding, Sandbox
from dosirak.engine.networks.namespaces import Prepared
from dosirak.engine.networks.ports import Ports
from dosirak.engine.networks.records import Records
from dosirak.engine.networks.worker import Worker
from dosirak.engine.settings import Settings
from dosirak.engine.state.database import Database

_LOG = logging.getLogger(__name__)


class _Connected(msgspec.Struct, frozen=True):
    sandbox: Sandbox
    attachment: Attachment


class Networks:
    """Every network of one engine root. All methods are called on the event loop's thread."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._records = Records(db)
        self._root = settings.data
        self._worker = Worker(names.table_name(settings.data))
        self._ports = Ports()
        self._drivers: dict[str, Driver] = {}
        self._connected: dict[str, _Connected] = {}

    async def start(self) -> None:
        """Reads the records, or makes the first ones; the bridge comes with the first container that needs it."""
        networks = {network.name: network for network in self._records.networks()}
        for name in PREDEFINED:
            if name not in networks:
                networks[name] = await self._predefined(name)
                self._records.save_network(networks[name])
        self._drivers = {network.id: self._driver(network) for network in networks.values()}

    async def close(self) -> None:
        """Ends the network thread and gives back what no container uses; running containers keep everything."""
        await self.teardown()
        for connected in self._connected.values():
            self._ports.release(connected.attachment.ports)
            if connected.attachment.prepared:
                os.close(connected.attachment.prepared.fd)
        self._connected.clear()
        await self._worker.stop()

    async def teardown(self) -> None:
        """Gives back all that is kept ready, and the bridge and rules of each network no container is connected to."""
        for driver in self._drivers.values():
            await driver.down()

    def list(self) -> list[Network]:
        """All networks, with their endpoints, by name."""
        endpoints: dict[str, list[Endpoint]] = defaultdict(list)
        for connected in self._connected.values():
            endpoints[connected.sandbox.endpoint.network_id].append(connected.sandbox.endpoint)
        networks = (driver.network for driver in self._drivers.values())
        return sorted(
            (msgspec.structs.replace(network, endpoints=tuple(endpoints[network.id])) for network in networks),
            key=lambda network: network.name,
        )

    def inspect(self, ref: str) -> Network:
        """The network of this name, id or unambiguous id prefix. Raises NotFound, or InvalidRequest when ambiguous."""
        identifier = self._find(ref).network.id
        return next(network for network in self.list() if network.id == identifier)

    async def connect(
        self,
        container_id: str,
        name: str,
        network: str = "bridge",
        *,
        ports: Sequence[PortBinding] = (),
        hostname: str = "",
        mac: str | None = None,
        ip: str | None = None,
    ) -> Sandbox:
        """A namespace connected to `network`, ready to be passed as `Launch.join["network"]`.

        With a namespace made ahead this takes well under a millisecond, 2 ms without, some 10 ms the first time (the
        bridge). Raises NotFound for the network, HostLimit "driver failed programming external connectivity…" when a
        port is taken, InvalidRequest for what can't be.
        """
        driver = self._find(network)
        if container_id in self._connected:
            raise Conflict(f"endpoint with name {name} already exists in network {driver.network.name}")
        if ip and driver.network.name in PREDEFINED:
            raise InvalidRequest("user specified IP address is supported on user defined networks only")
        identifier = names.new_id()
        attachment = await driver.connect(Request(identifier, name, ports, mac, ip))
        prepared = attachment.prepared
        endpoint = Endpoint(
            id=identifier,
            sandbox_id=names.new_id(),
            container=container_id,
            name=name,
            network_id=driver.network.id,
            network=driver.network.name,
            hostname=hostname,
            ip=str(prepared.address.ip) if prepared and prepared.address else "",
            prefix=prepared.address.network.prefixlen if prepared and prepared.address else 0,
            gateway=attachment.gateway,
            mac=prepared.mac if prepared else "",
            interface=prepared.veth if prepared else "",
            ports=attachment.ports,
        )
        sandbox = Sandbox(endpoint.sandbox_id, prepared.fd if prepared else None, endpoint)
        try:
            self._records.add(endpoint)
        except BaseException:
            driver.disconnect(attachment)
            raise
        self._connected[container_id] = _Connected(sandbox, attachment)
        return sandbox

    async def disconnect(self, container_id: str) -> None:
        """Frees a container's addresses and ports; does nothing if it has none. Slow parts go on in the background."""
        connected = self._connected.pop(container_id, None)
        if connected:
            endpoint = connected.sandbox.endpoint
            try:
                self._records.remove([endpoint])
            finally:
                # Also when the disk is full; the record is then freed at the next start.
                self._drivers[endpoint.network_id].disconnect(connected.attachment)

    def sandbox(self, container_id: str) -> Sandbox | None:
        """The network of a running container (for inspect, and for `--network container:NAME`)."""
        connected = self._connected.get(container_id)
        return connected.sandbox if connected else None

    def rename(self, container_id: str, name: str) -> None:
        """The container has another name now; does nothing if it isn't connected."""
        connected = self._connected.get(container_id)
        if connected:
            endpoint = msgspec.structs.replace(connected.sandbox.endpoint, name=name)
            self._records.save(endpoint)
            sandbox = Sandbox(connected.sandbox.id, connected.sandbox.netns_fd, endpoint)
            self._connected[container_id] = _Connected(sandbox, connected.attachment)

    async def readopt(self, running: Mapping[str, int]) -> None:
        """After `start`, once: takes over the networks of `running` (container id → pid), frees those of all others.

        Links and rules that a killed service left are removed, unless a running container has them.
        """
        gone: list[Endpoint] = []
        adopted: dict[str, list[Attachment]] = defaultdict(list)
        for endpoint in self._records.endpoints():
            known = endpoint.network_id in self._drivers
            connected = _readopt(endpoint, running.get(endpoint.container)) if known else None
            if connected is None:
                gone.append(endpoint)
                continue
            self._connected[endpoint.container] = connected
            adopted[endpoint.network_id].append(connected.attachment)
        if gone:
            self._records.remove(gone)
            # Most have gone with their namespaces; an orphaned process may still hold one.
            orphans = [endpoint.interface for endpoint in gone if endpoint.interface]
            if any(links.index_of(name) for name in orphans):
                await self._worker.submit(bridges.delete_links, orphans)
        for identifier, driver in self._drivers.items():
            try:
                await driver.adopt(adopted[identifier])
            except (EngineError, OSError) as error:
                # Its containers run on as they are; a service that didn't start could do less for them.
                _LOG.warning("network %s: can't be taken over: %s", driver.network.name, error)

    def _find(self, ref: str) -> Driver:
        by_name = [driver for driver in self._drivers.values() if driver.network.name == ref]
        found = by_name or [
            driver for identifier, driver in self._drivers.items() if ref and identifier.startswith(ref)
        ]
        if not found:
            raise NotFound(f"network {ref} not found")
        if len(found) > 1:
            raise InvalidRequest(f"network {ref} is ambiguous ({len(found)} matches found based on ID prefix)")
        return found[0]

    def _driver(self, network: Network) -> Driver:
        if network.driver == "bridge":
            return Bridge(network, self._worker, self._ports, self._records.save_network)
        return Host(network) if network.driver == "host" else Null(network, self._worker)

    async def _predefined(self, name: str) -> Network:
        """The record of a network every engine has, as Docker's own look."""
        if name != "bridge":
            driver = {"host": "host", "none": "null"}[name]
            return Network(id=names.new_id(), name=name, driver=driver, created=time.time())
        subnet = choose_subnet(await self._worker.submit(bridges.host_subnets))
        bridge = names.bridge_name(self._root)
        return Network(
            id=names.new_id(),
            name=name,
            driver="bridge",
            created=time.time(),
            subnet=str(subnet),
            gateway=str(bridges.gateway_of(subnet)),
            bridge=bridge,
            options={
                "com.docker.network.bridge.default_bridge": "true",
                "com.docker.network.bridge.enable_icc": "true",
                "com.docker.network.bridge.enable_ip_masquerade": "true",
                "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
                "com.docker.network.bridge.name": bridge,
                "com.docker.network.driver.mtu": "1500",
            },
        )


def _readopt(endpoint: Endpoint, pid: int | None) -> _Connected | None:
    """A running container's network again, by its process; None if that has ended."""
    if pid is None:
        return None
    prepared = None
    if endpoint.network != "host":
        with contextlib.suppress(OSError):
            fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            address = IPv4Interface(f"{endpoint.ip}/{endpoint.prefix}") if endpoint.ip else None
            index = links.index_of(endpoint.interface) or 0 if endpoint.interface else 0
            prepared = Prepared(fd, endpoint.interface, index, address, endpoint.mac)
        if prepared is None:
            return None
    attachment = Attachment(prepared, endpoint.gateway, endpoint.ports)
    return _Connected(Sandbox(endpoint.sandbox_id, prepared.fd if prepared else None, endpoint), attachment)
