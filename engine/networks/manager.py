"""The room's door: what other rooms ask of networks."""

from __future__ import annotations

import asyncio
import builtins
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network

import msgspec

from dosirak.engine.errors import EngineError, Forbidden, NotFound
from dosirak.engine.networks import bridges, choosing, configuration, creating, names, templates
from dosirak.engine.networks.addresses import choose_subnet, gateway_of
from dosirak.engine.networks.boxes import Boxes
from dosirak.engine.networks.drivers import Bridge, Driver, Host, Null, Template
from dosirak.engine.networks.home import Home
from dosirak.engine.networks.model import (
    PREDEFINED,
    CreateRequest,
    Endpoint,
    Join,
    Network,
    PortBinding,
    Resolver,
    Sandbox,
)
from dosirak.engine.networks.ports import Ports
from dosirak.engine.networks.records import Records
from dosirak.engine.networks.registry import Registry
from dosirak.engine.networks.worker import Worker
from dosirak.engine.settings import Settings
from dosirak.engine.state import Database, Events, Filters

_LOG = logging.getLogger(__name__)


class Networks:
    """Every network of one engine root. All methods are called on the event loop's thread."""

    def __init__(self, db: Database, settings: Settings, events: Events, home: Home | None = None) -> None:
        """Parameters: `home`: where the bridges are, if not in this process's own network namespace."""
        self._home = home = home or Home()
        self._records = Records(db)
        self._root = settings.data
        self._pools = configuration.pools(settings.data, names.seed(settings.data))
        self._events = events
        self._worker = Worker(names.table_name(settings.data), home)
        self._ports = Ports(home)
        self._registry = Registry()
        self._boxes = Boxes(self._registry, self._records, self._worker, self._ports, settings.run, home)
        self._creating = asyncio.Lock()
        self._going: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Reads the records, or makes the first ones; a bridge comes with the first container that needs it."""
        networks = {network.name: network for network in self._records.networks()}
        for name in PREDEFINED:
            if name not in networks:
                networks[name] = await self._predefined(name)
                self._records.save_network(networks[name])
        for network in networks.values():
            self._registry.add(self._driver(network))

    async def close(self) -> None:
        """Ends the network thread and gives back what no container uses; running containers keep everything."""
        await self.teardown()
        await self._boxes.close()
        self._records.settle()
        await self._worker.stop()

    async def teardown(self) -> None:
        """Gives back all that is kept ready, and the bridge and rules of each network no container is connected to."""
        await asyncio.gather(*self._going, return_exceptions=True)
        for driver in self._registry:
            await driver.down()

    # Networks

    def list(self) -> builtins.list[Network]:
        """All networks, with their endpoints, by name."""
        endpoints: dict[str, builtins.list[Endpoint]] = defaultdict(builtins.list)
        for endpoint in self._boxes.endpoints():
            endpoints[endpoint.network_id].append(endpoint)
        return sorted(
            (
                msgspec.structs.replace(driver.network, endpoints=tuple(endpoints[driver.network.id]))
                for driver in self._registry
            ),
            key=lambda network: network.name,
        )

    def select(self, filters: Filters) -> builtins.list[Network]:
        """Those that Docker's filters let through, by name. Raises InvalidRequest for an unknown filter."""
        return choosing.listed(self.list(), filters)

    def inspect(self, ref: str) -> Network:
        """The network of this name, id or unambiguous id prefix. Raises NotFound, or InvalidRequest when ambiguous."""
        network = self._registry.find(ref).network
        endpoints = tuple(endpoint for endpoint in self._boxes.endpoints() if endpoint.network_id == network.id)
        return msgspec.structs.replace(network, endpoints=endpoints)

    async def create(self, request: CreateRequest) -> Network:
        """A new network; its bridge comes with its first container.

        Raises InvalidRequest, Forbidden, Conflict for a name in use, NotFound for a driver, NotSupported.
        """
        creating.check(request, [driver.network for driver in self._registry])
        async with self._creating:
            if request.ipam and request.ipam.config:
                # The very subnet may be that of a network that is just going.
                await asyncio.gather(*self._going, return_exceptions=True)
            used = await self._worker.submit(bridges.host_subnets)
            existing = [driver.network for driver in self._registry]
            creating.check(request, existing)  # another one may have come meanwhile
            network = creating.make(request, names.new_id(), existing, used, self._pools)
            driver = self._driver(network)
            self._records.save_network(network)
            self._registry.add(driver)
        self._tell(network, "create")
        return network

    async def remove(self, ref: str) -> None:
        """Removes a network; its bridge goes in the background. Raises NotFound, Forbidden while it is in use."""
        try:
            driver = self._registry.find(ref)
        except NotFound:
            if self._forget(ref):
                return
            raise
        network = self.inspect(driver.network.id)
        if network.name in PREDEFINED:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        templates.check_unused(network, [other.network for other in self._registry])
        if driver.in_use or network.endpoints:
            listed = ", ".join(f'name:"{endpoint.name}" id:"{endpoint.id[:12]}"' for endpoint in network.endpoints)
            raise Forbidden(f"error while removing network: network {network.name} has active endpoints ({listed})")
        self._records.remove_network(network)
        self._registry.remove(driver)
        going = asyncio.create_task(driver.down(), name=f"remove network {network.name}")
        self._going.add(going)
        going.add_done_callback(self._gone)
        self._tell(network, "destroy")

    async def prune(self, filters: Filters) -> builtins.list[str]:
        """Removes the networks that no running container is connected to; their names. Raises InvalidRequest."""
        pruned = []
        for network in choosing.prunable(self.list(), filters):
            try:
                await self.remove(network.id)
            except EngineError as error:
                _LOG.warning("network %s: can't be pruned: %s", network.name, error)
            else:
                pruned.append(network.name)
        self._events.publish("network", "prune", "", {"reclaimed": "0"})
        return pruned

    def lost(self, network_id: str) -> str:
        """The name of a network whose record could not be read, by its id; "" for any other."""
        return dict(self._records.damaged_networks).get(network_id, "")

    def warnings(self) -> builtins.list[str]:
        """What damaged records cost, for `GET /info`."""
        names = {driver.network.name for driver in self._registry}
        return [
            *(
                f"WARNING: Network {name}: its record is damaged, and put aside: make it again, or remove it"
                for _, name in self._records.damaged_networks
                if name not in names
            ),
            *(
                f"WARNING: Container {container[:12]}: the record of its connection to network {name} is damaged:"
                f" restart it, or `docker network connect {name} {container[:12]}`"
                for container, name in self._records.damaged_endpoints
            ),
        ]

    def _forget(self, ref: str) -> bool:
        """Removes what was put aside of a network of this name or id; whether there was any."""
        found = [row for row in self._records.damaged_networks if ref in row]
        for row in found:
            self._records.damaged_networks.forget(*row)
        return bool(found)

    def _gone(self, task: asyncio.Task[None]) -> None:
        self._going.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _LOG.warning("%s: %s", task.get_name(), error)

    # Containers

    async def join(
        self,
        container_id: str,
        name: str,
        joins: Sequence[Join],
        *,
        ports: Sequence[PortBinding] = (),
        hostname: str = "",
        resolver: Resolver = Resolver(),
        namespace: int | None = None,
    ) -> Sandbox:
        """A namespace connected to these networks, ready to be passed as `Launch.join["network"]`.

        Parameters: `namespace`: a descriptor of one that is there already; it stays the caller's.

        With a namespace made ahead this takes well under a millisecond, 2 ms without and for each further network,
        some 10 ms the first time (the bridge). Raises NotFound for a network, HostLimit "driver failed programming
        external connectivity…" when a port is taken, InvalidRequest for what can't be, Forbidden for what is in use.
        """
        return await self._boxes.join(container_id, name, hostname, joins, ports, resolver, namespace)

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
        """`join`, for one network and nothing special."""
        wanted = Join(network=network, mac=mac or "", ip=ip or "")
        return await self.join(container_id, name, [wanted], ports=ports, hostname=hostname)

    async def add(
        self,
        container_id: str,
        name: str,
        join: Join,
        *,
        hostname: str,
        pid: int,
        resolver: Resolver = Resolver(),
    ) -> Sandbox:
        """One more network for a running container, whose process is `pid`. Raises as `join`."""
        return await self._boxes.add(container_id, name, hostname, pid, join, resolver)

    async def leave(self, container_id: str, network: str) -> Endpoint:
        """One network less for a running container. Returns the connection that was. Raises NotFound, Forbidden."""
        return await self._boxes.drop(container_id, network)

    async def disconnect(self, container_id: str) -> None:
        """Frees a container's addresses and ports; does nothing if it has none. Slow parts go on in the background."""
        self._boxes.part(container_id)

    def sandbox(self, container_id: str) -> Sandbox | None:
        """The network of a running container (for inspect, and for `--network container:NAME`)."""
        return self._boxes.get(container_id)

    def rename(self, container_id: str, name: str, names: Mapping[str, tuple[str, ...]] = {}) -> None:
        """The container has another name now, and `names`, by network id; does nothing if it isn't connected."""
        self._boxes.rename(container_id, name, names)

    async def readopt(self, running: Mapping[str, int | str]) -> None:
        """After `start`, once: takes over the networks of `running`, frees those of all others.

        Parameters: `running`: container id → pid, or path of its network namespace where it has no process just now.
        Links and rules that a killed service left are removed, unless a running container has them.
        """
        await self._boxes.readopt(running)

    def _tell(self, network: Network, action: str) -> None:
        self._events.publish("network", action, network.id, {"name": network.name, "type": network.driver})

    def _subnets(self) -> builtins.list[IPv4Network]:
        return [IPv4Network(driver.network.subnet) for driver in self._registry if driver.network.subnet]

    def _driver(self, network: Network) -> Driver:
        if network.template:
            return Template(network)
        if network.driver == "bridge":
            return Bridge(
                network, self._worker, self._ports, self._records.save_network, self._subnets, self._home, self._pools
            )
        return Host(network) if network.driver == "host" else Null(network, self._worker)

    async def _predefined(self, name: str) -> Network:
        """The record of a network every engine has, as Docker's own look."""
        if name != "bridge":
            driver = {"host": "host", "none": "null"}[name]
            return Network(id=names.new_id(), name=name, driver=driver, created=time.time())
        subnet = choose_subnet(await self._worker.submit(bridges.host_subnets), self._pools)
        bridge = names.bridge_name(self._root)
        return Network(
            id=names.new_id(),
            name=name,
            driver="bridge",
            created=time.time(),
            subnet=str(subnet),
            gateway=str(gateway_of(subnet)),
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
