"""Containers' sandboxes: one network namespace each, connected to any number of networks.

One of the connections is the way out: it has the default route, and the published ports lead to it (libnetwork calls it
the gateway endpoint). Which one that is may change as networks come and go; the ports then move along.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import msgspec

from dosirak.engine.errors import Forbidden, InvalidRequest
from dosirak.engine.networks import bridges, files, jobs, names
from dosirak.engine.networks.box import (
    Box,
    Link,
    as_asked,
    free_interface,
    has_names,
    open_namespace,
    taken_over,
    way_out,
)
from dosirak.engine.networks.dns import service as dns
from dosirak.engine.networks.dns.service import NameService
from dosirak.engine.networks.drivers import Attachment, Driver, Request
from dosirak.engine.networks.home import Home
from dosirak.engine.networks.model import PREDEFINED, Endpoint, Join, PortBinding, Resolver, Sandbox
from dosirak.engine.networks.ports import Ports
from dosirak.engine.networks.records import Records
from dosirak.engine.networks.registry import Registry
from dosirak.engine.networks.worker import Worker

_LOG = logging.getLogger(__name__)


class Boxes:
    """The sandboxes of all running containers."""

    def __init__(
        self, registry: Registry, records: Records, worker: Worker, ports: Ports, run: Path, home: Home
    ) -> None:
        self._registry = registry
        self._home = home
        self._names = NameService(run / "names.sock", self._listen, home.namespace)
        self._records = records
        self._worker = worker
        self._ports = ports
        self._boxes: dict[str, Box] = {}

    def get(self, container_id: str) -> Sandbox | None:
        """A running container's sandbox."""
        box = self._boxes.get(container_id)
        return box.sandbox() if box else None

    def endpoints(self) -> Iterator[Endpoint]:
        """All connections of all containers."""
        for box in self._boxes.values():
            for link in box.links.values():
                yield link.endpoint

    async def join(
        self,
        container_id: str,
        name: str,
        hostname: str,
        joins: Sequence[Join],
        ports: Sequence[PortBinding],
        resolver: Resolver,
        namespace: int | None,
    ) -> Sandbox:
        """See `Networks.join`."""
        if container_id in self._boxes:
            raise Forbidden(f"endpoint with name {name} already exists in network {joins[0].network}")
        box = Box(
            names.new_id(), container_id, name, hostname, resolver, tuple(ports), nameserver=self._home.nameserver
        )
        try:
            if namespace is not None:
                box.fd = os.dup(namespace)
                await self._worker.submit(jobs.settle, box.fd)
            for join in joins:
                await self._link(box, join)
            await self._settle(box)
            await self._prepare_names(box)
            self._records.add(link.endpoint for link in box.links.values())
        except BaseException:
            self._undo(box)
            raise
        self._boxes[container_id] = box
        self._tell(box)
        return box.sandbox()

    async def add(
        self, container_id: str, name: str, hostname: str, pid: int, join: Join, resolver: Resolver
    ) -> Sandbox:
        """See `Networks.connect`."""
        box = self._boxes.get(container_id)
        if box is None:  # it had left its last network when an earlier service ended
            fd, nameserver = open_namespace(pid), self._home.nameserver
            box = Box(names.new_id(), container_id, name, hostname, resolver, fd=fd, nameserver=nameserver)
            self._boxes[container_id] = box
        if not box.named:
            box.resolver = resolver
        link = await self._link(box, join)
        try:
            self._records.add([link.endpoint])
            await self._settle(box)
            await self._prepare_names(box)
            self._records.save(link.endpoint for link in box.links.values())
        except BaseException:
            await self._unlink(box, link)
            raise
        self._tell(box)
        return box.sandbox()

    async def drop(self, container_id: str, network: str) -> Endpoint:
        """See `Networks.leave`. Returns the connection that was."""
        driver = self._registry.find(network)
        box = self._boxes.get(container_id)
        link = box.links.get(driver.network.id) if box else None
        if box is None or link is None:
            raise Forbidden(f"container {container_id} is not connected to network {driver.network.name}")
        await self._unlink(box, link)
        return link.endpoint

    def part(self, container_id: str) -> None:
        """See `Networks.disconnect`."""
        box = self._boxes.pop(container_id, None)
        if box:
            self._records.remove(link.endpoint for link in box.links.values())
            self._undo(box)
        self._records.ended(container_id)

    def rename(self, container_id: str, name: str, names: Mapping[str, tuple[str, ...]]) -> None:
        """See `Networks.rename`."""
        box = self._boxes.get(container_id)
        if box:
            box.name = name
            for network_id, link in box.links.items():
                known = names.get(network_id, link.endpoint.names)
                link.endpoint = msgspec.structs.replace(link.endpoint, name=name, names=known)
            self._records.save(link.endpoint for link in box.links.values())
            self._tell(box)

    async def close(self) -> None:
        """Lets go of descriptors and held ports; connections stay."""
        await self._names.close()
        for box in self._boxes.values():
            for link in box.links.values():
                self._ports.release(link.attachment.ports)
                if link.attachment.prepared:
                    link.attachment.prepared.close()
            if box.fd is not None:
                os.close(box.fd)
        self._boxes.clear()

    async def readopt(self, running: Mapping[str, int | str]) -> None:
        """See `Networks.readopt`."""
        gone: list[Endpoint] = []
        adopted: dict[str, list[Attachment]] = defaultdict(list)
        endpoints = self._records.endpoints()
        for container in {key for key, _ in self._records.damaged_endpoints} - set(running):
            self._records.ended(container)
        for endpoint in endpoints:
            driver = self._registry.get(endpoint.network_id)
            attachment = taken_over(endpoint, running.get(endpoint.container), self._home) if driver else None
            if attachment is None:
                gone.append(endpoint)
                if driver is None and endpoint.container in running:
                    self._records.cut_off(endpoint)
                continue
            box = self._boxes.get(endpoint.container)
            if box is None:
                box = Box(endpoint.sandbox_id, endpoint.container, endpoint.name, endpoint.hostname, endpoint.resolver)
                box.fd = os.dup(attachment.prepared.fd) if attachment.prepared else None
                box.nameserver = self._home.nameserver
                self._boxes[endpoint.container] = box
            box.links[endpoint.network_id] = Link(endpoint, attachment)
            if has_names(endpoint):
                box.resolver = endpoint.resolver
            adopted[endpoint.network_id].append(attachment)
        for box in self._boxes.values():
            box.way_out = way_out(box)
            box.bindings = tuple(map(as_asked, box.sandbox().ports))
            box.named = any(has_names(link.endpoint) for link in box.links.values())
            self._tell(box)
        if gone:
            self._records.remove(gone)
            # Most have gone with their namespaces; an orphaned process may still hold one.
            orphans = [endpoint.interface for endpoint in gone if endpoint.interface]
            if any(self._home.index_of(name) for name in orphans):
                await self._worker.submit(bridges.delete_links, orphans)
        self._home.keep(port for box in self._boxes.values() for port in box.sandbox().ports)
        for driver in self._registry:
            await driver.take_over(adopted[driver.network.id])

    async def _link(self, box: Box, join: Join) -> Link:
        """Connects a box to one more network; nothing is recorded yet."""
        driver = self._registry.find(join.network)
        network = driver.network
        if network.id in box.links:
            raise Forbidden(f"endpoint with name {box.name} already exists in network {network.name}")
        if (join.ip or join.ip6) and network.name in PREDEFINED:
            raise InvalidRequest("user specified IP address is supported on user defined networks only")
        inner = free_interface(box)
        attachment = await driver.connect(Request(join.mac, join.ip, join.ip6, box.fd, inner))
        prepared = attachment.prepared
        if box.fd is None and prepared:
            box.fd = os.dup(prepared.fd)
            box.way_out = network.id if attachment.gateway else ""
            # What the name server gets is the box's, not the link's.
            box.sockets, prepared = prepared.sockets, msgspec.structs.replace(prepared, sockets=())
            attachment = msgspec.structs.replace(attachment, prepared=prepared)
        endpoint = Endpoint(
            id=names.new_id(),
            sandbox_id=box.id,
            container=box.container,
            name=box.name,
            network_id=network.id,
            network=network.name,
            hostname=box.hostname,
            ip=str(prepared.address.ip) if prepared and prepared.address else "",
            prefix=prepared.address.network.prefixlen if prepared and prepared.address else 0,
            gateway=attachment.gateway,
            ip6=str(prepared.address6.ip) if prepared and prepared.address6 else "",
            prefix6=prepared.address6.network.prefixlen if prepared and prepared.address6 else 0,
            gateway6=attachment.gateway6,
            mac=prepared.mac if prepared else "",
            interface=prepared.veth if prepared else "",
            inner=inner,
            names=join.names,
            links=join.links,
            priority=join.priority,
            resolver=box.resolver,
        )
        link = box.links[network.id] = Link(endpoint, attachment)
        return link

    async def _unlink(self, box: Box, link: Link) -> None:
        """Takes a network away from a box whose container runs on."""
        del box.links[link.endpoint.network_id]
        self._names.remove_endpoint(link.endpoint.id)
        self._records.remove([link.endpoint])
        await self._driver(link).leave(link.attachment)
        await self._settle(box)
        self._records.save(link.endpoint for link in box.links.values())
        self._tell(box)

    async def _prepare_names(self, box: Box) -> None:
        """A container on a network of somebody's own has a name server, from then on."""
        if box.named or not any(has_names(link.endpoint) for link in box.links.values()):
            return
        assert box.fd is not None
        try:
            sockets = box.sockets or await self._worker.submit(jobs.listen, box.fd)
        except OSError as error:
            _LOG.warning("container %s: no name server: %s", box.container[:12], error.strerror)
            return
        if not box.resolver.tcp:
            for fd in sockets[1:]:
                os.close(fd)
        box.sockets, box.named = sockets[: 2 if box.resolver.tcp else 1], True

    def _tell(self, box: Box) -> None:
        """Let the name server know all that concerns it of a container."""
        if not box.named or box.fd is None:
            return
        order = sorted((link.endpoint for link in box.links.values()), key=lambda one: (-one.priority, one.network))
        for endpoint in order:
            if has_names(endpoint):
                self._names.set_endpoint(endpoint)
        outside = [(server, False) for server in self._home.resolvers(files.read_resolv_conf())]
        told = dns.Box(
            id=box.id,
            networks=[endpoint.network_id for endpoint in order],
            links={endpoint.network_id: endpoint.links for endpoint in order if endpoint.links},
            servers=[(server, True) for server in box.resolver.servers] or outside,
            outside=any(endpoint.gateway for endpoint in order),
            whole=box.resolver.whole,
            namespace=box.fd,
            sockets=box.sockets,
        )
        box.sockets = ()
        self._names.set_box(told)

    async def _listen(self, box: dns.Box) -> tuple[int, ...]:
        return await self._worker.submit(jobs.listen, box.namespace)

    async def _settle(self, box: Box) -> None:
        """Sees to it that default route and published ports are at the way out."""
        chosen = way_out(box)
        link = box.links.get(chosen)
        if chosen != box.way_out and box.fd is not None:
            gateway = IPv4Address(link.endpoint.gateway) if link else None
            gateway6 = IPv6Address(link.endpoint.gateway6) if link and link.endpoint.gateway6 else None
            await self._worker.submit(jobs.route, box.fd, link.endpoint.inner if link else "", gateway, gateway6)
            box.way_out = chosen
        ports = box.bindings
        for other in box.links.values():
            if other is not link and other.attachment.ports:
                # What was "any free port" stays the one that it became.
                ports = box.bindings = tuple(map(as_asked, other.attachment.ports))
                self._change(other, self._driver(other).unpublish(other.attachment))
        if link and ports and not link.attachment.ports:
            where = f"{box.name} ({link.endpoint.id})"
            self._change(link, await self._driver(link).publish(link.attachment, ports, where))

    def _change(self, link: Link, attachment: Attachment) -> None:
        link.attachment = attachment
        link.endpoint = msgspec.structs.replace(link.endpoint, ports=attachment.ports)

    def _undo(self, box: Box) -> None:
        self._names.remove_box(box.id)
        for link in box.links.values():
            self._names.remove_endpoint(link.endpoint.id)
            self._driver(link).disconnect(link.attachment)
        box.links.clear()
        for fd in box.sockets:
            os.close(fd)
        box.sockets = ()
        if box.fd is not None:
            os.close(box.fd)
            box.fd = None

    def _driver(self, link: Link) -> Driver:
        driver = self._registry.get(link.endpoint.network_id)
        assert driver  # a network with connections is not removed
        return driver
