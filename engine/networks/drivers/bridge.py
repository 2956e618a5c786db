"""Networks of driver `bridge`: a Linux bridge, a veth pair a container, NAT to the outside, published ports.

The bridge comes with the first container that needs it and goes some seconds after the last. A container's start finds
a namespace made ahead, address, route and all: nothing of it waits for the kernel's link lock, which the ends of other
containers hold for tens of milliseconds. Only `--mac-address`, `--ip` and a container's second network have their link
made for them (2 ms).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

import msgspec

from dosirak.engine.errors import HostLimit, InvalidRequest
from dosirak.engine.networks import bridges, jobs, names, options
from dosirak.engine.networks.addresses import Allocator, Pools
from dosirak.engine.networks.bridges import Raised, Wanted
from dosirak.engine.networks.drivers.base import Attachment, Driver, Request
from dosirak.engine.networks.home import Home
from dosirak.engine.networks.model import PREDEFINED, BoundPort, Network, PortBinding
from dosirak.engine.networks.namespaces import Prepared, Wiring
from dosirak.engine.networks.pool import Pool
from dosirak.engine.networks.ports import Ports, PortTaken, publications
from dosirak.engine.networks.rules import Bridge as BridgeRules
from dosirak.engine.networks.rules import Publication
from dosirak.engine.networks.worker import Worker

_LOG = logging.getLogger(__name__)
# Seconds without a container after which bridge, rules and prepared namespaces are given back.
IDLE = 10.0
# Seconds after which a veth that still lives though its container is gone (someone joined its namespace) is deleted.
_LINGER = 1.5
# Seconds that the kernel gets to take given-up veths away by itself when their bridge goes.
_GONE_WITHIN = 1.0


class Bridge(Driver):
    """One bridge network.

    Parameters: `ports` are the engine's published ports, `save` writes a changed record, `taken` tells the subnets of
    the engine's networks, `home` is where the bridge is, `pools` what another subnet is taken from.
    """

    def __init__(
        self,
        network: Network,
        worker: Worker,
        ports: Ports,
        save: Callable[[Network], None],
        taken: Callable[[], list[IPv4Network]],
        home: Home,
        pools: Pools,
    ) -> None:
        super().__init__(network)
        self._worker = worker
        self._ports = ports
        self._save = save
        self._taken = taken
        self._home = home
        self._pools = pools
        self._options = options.parse(network.options)
        self._allocator = self._new_allocator()
        self._allocator6 = self._new_allocator6()
        self._changing = asyncio.Lock()
        self._raised: Raised | None = None
        self._raising: asyncio.Future[Raised] | None = None
        self._pool: Pool | None = None
        self._users = 0  # containers connected or being connected
        self._attached: set[str] = set()  # the veths of those that are
        self._leaving: list[str] = []
        self._left_at = 0.0  # when the last container left, in the loop's time
        self._idle_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._background: set[asyncio.Future[None]] = set()

    @property
    def in_use(self) -> bool:
        """Whether a container is connected, or is being connected."""
        return self._users > 0

    async def connect(self, request: Request) -> Attachment:
        """A namespace on the bridge."""
        self._users += 1
        try:
            prepared = await self._take(request)
        except BaseException:
            self._leave()
            raise
        self._attached.add(prepared.veth)
        if self.network.internal:
            return Attachment(prepared)
        return Attachment(prepared, self.network.gateway, gateway6=self.network.six.gateway if self.network.six else "")

    def disconnect(self, attachment: Attachment) -> None:
        """Closes the ports and takes the veth off the bridge, in the background, in this order."""
        assert attachment.prepared and attachment.prepared.address  # what `connect` and `adopt` give has both
        self._attached.discard(attachment.prepared.veth)
        self._ports.release(attachment.ports)
        self._release(attachment.prepared, _publications(attachment.prepared, attachment.ports))
        self._leave()

    async def leave(self, attachment: Attachment) -> None:
        """As `disconnect`, and deletes the veth, which its namespace would keep."""
        assert attachment.prepared
        self.disconnect(attachment)
        self._leaving.remove(attachment.prepared.veth)
        await self._worker.submit(bridges.delete_links, [attachment.prepared.veth])

    async def publish(self, attachment: Attachment, ports: Sequence[PortBinding], where: str) -> Attachment:
        """Takes the ports and opens them. Raises HostLimit "driver failed programming external connectivity…"."""
        if not ports or self.network.internal:
            return attachment
        assert attachment.prepared and attachment.prepared.address
        ip = attachment.prepared.address.ip
        usual = self._options.host_ip
        if usual != "0.0.0.0":
            ports = [port if port.host_ip else msgspec.structs.replace(port, host_ip=usual) for port in ports]
        # What a keeper carries it carries to IPv4 addresses.
        six = attachment.prepared.address6 is not None and self._home.namespace is None
        try:
            bound = self._ports.reserve(ports, str(ip), six=six)
        except PortTaken as error:
            raise HostLimit(f"driver failed programming external connectivity on endpoint {where}: {error}") from error
        opened = _publications(attachment.prepared, bound)
        try:
            await self._worker.submit(jobs.publish, opened)
        except BaseException:
            self._ports.release(bound)
            self._later(self._worker.submit(jobs.withdraw, opened))
            raise
        return msgspec.structs.replace(attachment, ports=tuple(bound))

    def unpublish(self, attachment: Attachment) -> Attachment:
        """Gives the ports back and closes them."""
        if attachment.ports:
            assert attachment.prepared and attachment.prepared.address
            self._ports.release(attachment.ports)
            closed = _publications(attachment.prepared, attachment.ports)
            self._later(self._worker.submit(jobs.withdraw, closed))
        return msgspec.structs.replace(attachment, ports=())

    async def adopt(self, attachments: Sequence[Attachment]) -> None:
        """Bridge, rules and ports as the records have them; ports of the bridge that no container has are deleted."""
        async with self._changing:
            if not attachments:
                await self._lower()
                return
            opened: list[Publication] = []
            for attachment in attachments:
                assert attachment.prepared and attachment.prepared.address
                self._allocator.reserve(attachment.prepared.address.ip)
                if self._allocator6 and attachment.prepared.address6:
                    self._allocator6.reserve(attachment.prepared.address6.ip)
                self._ports.readopt(attachment.ports, str(attachment.prepared.address.ip))
                opened += _publications(attachment.prepared, attachment.ports)
                self._attached.add(attachment.prepared.veth)
            self._users += len(attachments)
            await self._raise(tuple(opened))

    async def down(self) -> None:
        """Gives back the pool; bridge and rules too if nobody is connected."""
        async with self._changing:
            await self._drain()
            if not self._users:
                await self._lower()
        while self._background:
            await asyncio.wait(self._background)
            await asyncio.sleep(0)  # lets their callbacks run
        for timer in (self._idle_timer, self._linger_timer):
            if timer:
                timer.cancel()
        self._idle_timer = self._linger_timer = None

    async def _take(self, request: Request) -> Prepared:
        mac = names.parse_mac(request.mac) if request.mac else None
        ip = _parse_ip(request.ip) if request.ip else None
        ip6 = _parse_ip6(request.ip6) if request.ip6 else None
        if ip6 and self._allocator6 is None:
            raise InvalidRequest(f"no configured subnet contains IP address {ip6}")
        try:
            return await self._take_now(request, ip, ip6, mac)
        except OSError:
            # Someone has taken the bridge away from under us: once more, from the start.
            async with self._changing:
                await self._drain()
            try:
                return await self._take_now(request, ip, ip6, mac)
            except OSError as error:
                raise HostLimit(f"network {self.network.name}: can't connect a container: {error.strerror}") from error

    async def _take_now(
        self, request: Request, ip: IPv4Address | None, ip6: IPv6Address | None, mac: str | None
    ) -> Prepared:
        if self._pool is None:
            async with self._changing:
                await self._raise()
        assert self._pool
        if ip is None and ip6 is None and mac is None and request.namespace is None:
            return await self._pool.take()
        if ip:
            self._allocator.reserve(ip)
        if ip6 and self._allocator6:
            try:
                self._allocator6.reserve(ip6)
            except BaseException:
                if ip:
                    self._allocator.release(ip)
                raise
        # A pool of its own for one: what it makes is not lost if this call is cancelled meanwhile.
        single = Pool(lambda: self._make(ip, ip6, mac, request), size=0)
        try:
            return await single.take()
        finally:
            for unused in await single.drain():
                self._release(unused)

    async def _raise(self, opened: tuple[Publication, ...] = ()) -> None:
        """Brings the bridge up. Called with `_changing` held, as `_drain` and `_lower` are."""
        if self._pool:
            return
        network = self.network
        subnet = IPv4Network(network.subnet)
        wanted = Wanted(
            rules=BridgeRules(
                network.bridge,
                subnet,
                network.internal,
                self._options.neighbours,
                self._options.masquerade,
                IPv6Network(network.six.subnet) if network.six else None,
            ),
            gateway=IPv4Address(network.gateway),
            mtu=network.mtu,
            movable=not self._attached and not network.fixed,
            taken=tuple(other for other in self._taken() if other != subnet),
            publications=opened,
            address6=_gateway6(network),
            pools=self._pools,
            forwarding_was_off=self._raised is not None and self._raised.forwarding_was_off,
        )
        # Whoever waits may give up; what is being made is made all the same, and `_lower` has to know.
        self._raising = self._worker.submit(bridges.raise_bridge, wanted)
        self._raised = await asyncio.shield(self._raising)
        if self._raised.subnet != subnet:
            moved = {"subnet": str(self._raised.subnet), "gateway": str(self._raised.gateway)}
            self.network = msgspec.structs.replace(network, **moved)
            self._save(self.network)
            self._allocator = self._new_allocator()
        if self._attached:
            await self._worker.submit(bridges.settle_ports, self._raised.index, frozenset(self._attached))
        self._pool = Pool(self._make)

    async def _drain(self) -> None:
        pool, self._pool = self._pool, None
        for prepared in await pool.drain() if pool else ():
            self._release(prepared)

    async def _lower(self) -> None:
        if self._raising:
            await asyncio.wait([self._raising])
            self._raising.exception()  # was told to whoever waited
            self._raising = None
        if self._raised or self._home.index_of(self.network.bridge) is not None:
            self._raised = None
            leaving, self._leaving = self._leaving, []
            await self._wait_gone(leaving)
            await self._worker.submit(jobs.lower, self.network.bridge, leaving)

    def _make(
        self,
        ip: IPv4Address | None = None,
        ip6: IPv6Address | None = None,
        mac: str | None = None,
        request: Request | None = None,
    ) -> asyncio.Future[Prepared]:
        assert self._raised
        ip = ip or self._allocator.take()
        allocator, allocator6, raised = self._allocator, self._allocator6, self._raised
        ip6 = ip6 or (allocator6.take() if allocator6 else None)
        gateway6 = _gateway6(self.network)
        wiring = Wiring(
            bridge=raised.index,
            address=IPv4Interface((ip, raised.subnet.prefixlen)),
            gateway=None if self.network.internal else raised.gateway,
            mac=mac or names.mac_of(ip),
            mtu=self.network.mtu,
            isolated=not self._options.neighbours,
            named=self.network.name not in PREDEFINED,
            address6=IPv6Interface((ip6, gateway6.network.prefixlen)) if ip6 and gateway6 else None,
            gateway6=None if self.network.internal or not gateway6 else gateway6.ip,
        )
        future = self._worker.submit(jobs.wire, wiring, *((request.namespace, request.interface) if request else ()))

        def give_back(done: asyncio.Future[Prepared]) -> None:
            if done.cancelled() or done.exception():
                allocator.release(ip)
                if allocator6 and ip6:
                    allocator6.release(ip6)

        future.add_done_callback(give_back)
        return future

    def _release(self, prepared: Prepared, closed: Sequence[Publication] = ()) -> None:
        """Lets go of a namespace; its address is free again once its veth has left the bridge."""
        allocator = self._allocator
        self._leaving.append(prepared.veth)
        if self._linger_timer is None:
            self._linger_timer = asyncio.get_running_loop().call_later(_LINGER, self._sweep)
        future = self._worker.submit(jobs.let_go, prepared, self._raised.index if self._raised else 0, closed)
        if prepared.address:
            address = prepared.address.ip
            future.add_done_callback(lambda done: allocator.release(address))
        if prepared.address6 and self._allocator6:
            allocator6, address6 = self._allocator6, prepared.address6.ip
            future.add_done_callback(lambda done: allocator6.release(address6))
        self._later(future)

    def _leave(self) -> None:
        self._users -= 1
        loop = asyncio.get_running_loop()
        self._left_at = loop.time()
        if not self._users and self._idle_timer is None:
            self._idle_timer = loop.call_later(IDLE, self._idle, loop)

    def _idle(self, loop: asyncio.AbstractEventLoop) -> None:
        self._idle_timer = None
        if self._users:
            return
        if self._left_at + IDLE > loop.time():  # others came and went meanwhile
            self._idle_timer = loop.call_at(self._left_at + IDLE, self._idle, loop)
        else:
            self._later(loop.create_task(self._lower_unused()))

    async def _lower_unused(self) -> None:
        async with self._changing:
            if not self._users:
                await self._drain()
                await self._lower()

    def _sweep(self) -> None:
        self._linger_timer = None
        leaving, self._leaving = self._leaving, []
        if leaving:
            self._later(self._worker.submit(bridges.delete_links, leaving))

    def _later(self, future: asyncio.Future[None]) -> None:
        self._background.add(future)
        future.add_done_callback(self._done)

    def _done(self, future: asyncio.Future[None]) -> None:
        self._background.discard(future)
        error = None if future.cancelled() else future.exception()
        if error:
            _LOG.warning("network %s: clearing up: %s", self.network.name, error)

    def _new_allocator6(self) -> Allocator[IPv6Address] | None:
        six = self.network.six
        if six is None:
            return None
        reserved = [IPv6Address(address) for address in (six.gateway, *six.reserved.values())]
        part = IPv6Network(six.ip_range) if six.ip_range else None
        return Allocator(f"{self.network.name} ({self.network.id})", IPv6Network(six.subnet), reserved, part)

    def _new_allocator(self) -> Allocator[IPv4Address]:
        network = self.network
        reserved = [IPv4Address(address) for address in (network.gateway, *network.reserved.values())]
        part = IPv4Network(network.ip_range) if network.ip_range else None
        return Allocator(f"{network.name} ({network.id})", IPv4Network(network.subnet), reserved, part)

    async def _wait_gone(self, veths: Sequence[str]) -> None:
        """Returns once the kernel has taken these links away. Not on the network thread: others need it meanwhile."""
        deadline = time.monotonic() + _GONE_WITHIN
        while any(map(self._home.index_of, veths)) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.004)


def _parse_ip(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError as error:
        raise InvalidRequest(f"invalid IPv4 address: {text}") from error


def _parse_ip6(text: str) -> IPv6Address:
    try:
        return IPv6Address(text)
    except ValueError as error:
        raise InvalidRequest(f"invalid IPv6 address: {text}") from error


def _gateway6(network: Network) -> IPv6Interface | None:
    """The bridge's IPv6 address."""
    six = network.six
    return IPv6Interface((six.gateway, IPv6Network(six.subnet).prefixlen)) if six else None


def _publications(prepared: Prepared, ports: Sequence[BoundPort]) -> list[Publication]:
    assert prepared.address  # what `connect` and `adopt` give has one
    return publications(ports, prepared.address.ip, prepared.address6.ip if prepared.address6 else None)
