"""`--link NAME:ALIAS` on the default bridge, which has no name server: a line in /etc/hosts, and variables.

The variables are those that images of that time were written for (moby: daemon/links/links.go). On a network of
somebody's own a link is an alias, and the name server knows it (`joining`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from dosirak.engine.containers import ports
from dosirak.engine.containers.documents import HostConfig
from dosirak.engine.containers.live import Live
from dosirak.engine.containers.model import Container
from dosirak.engine.containers.networking.parsing import parse_link
from dosirak.engine.containers.room import Room
from dosirak.engine.errors import Conflict, HostLimit, InvalidRequest, NotFound

_UNDEFINED = "can't be used with links. This would result in undefined behavior"
_HOST = f"conflicting options: host type networking {_UNDEFINED}"
_CONTAINER = f"conflicting options: container type network {_UNDEFINED}"
_NETWORK = "bridge"


def choose(room: Room, host: HostConfig) -> dict[str, str]:
    """A new container's links, alias → container's id. Raises InvalidRequest, Conflict for an alias used twice."""
    if host.links and host.network_mode.startswith("container:"):
        raise InvalidRequest(_CONTAINER)
    if host.links and host.network_mode == "host":
        raise InvalidRequest(_HOST)
    if host.network_mode != _NETWORK:
        return {}
    found: dict[str, str] = {}
    for text in host.links or ():
        name, alias = parse_link(text)
        target = _find(room, name)
        if found.setdefault(alias, target.id) != target.id:
            raise Conflict(f'Conflict. The link "{alias}" is used for two containers.')
    return found


def _find(room: Room, name: str) -> Container:
    """The container of that name, or whose network it uses."""
    try:
        record = room.table.find(name).record
        while (mode := record.host_config.network_mode).startswith("container:"):
            record = room.table.find(mode.removeprefix("container:")).record
    except NotFound as error:
        raise InvalidRequest(f"could not get container for {name}: {error}") from error
    if record.host_config.network_mode == "host":
        raise InvalidRequest(_HOST)
    return record


def hosts(room: Room, record: Container) -> list[tuple[str, str]]:
    """The lines of /etc/hosts: (address, names). Raises HostLimit when a linked container doesn't run."""
    return [(ip, _names(alias, target)) for alias, target, ip in _linked(room, record)]


def _names(alias: str, target: Container) -> str:
    return " ".join(dict.fromkeys((alias, target.config.hostname, target.name)))


def environment(room: Room, record: Container) -> list[str]:
    """The variables of all links. Raises HostLimit when a linked container doesn't run."""
    return [line for alias, target, ip in _linked(room, record) for line in _variables(record.name, alias, target, ip)]


def _linked(room: Room, record: Container) -> Iterator[tuple[str, Container, str]]:
    """Each link's alias, container and address; a container that has been removed is a link no more."""
    for alias, target_id in record.links.items():
        if target_id not in room.table:
            continue
        target = room.table.find(target_id).record
        if not target.state.running:
            raise HostLimit(f"Cannot link to a non running container: /{target.name} AS /{record.name}/{alias}")
        sandbox = room.networks.sandbox(target_id)
        ip = next((one.ip for one in sandbox.endpoints if one.network == _NETWORK), "") if sandbox else ""
        if not ip:
            raise HostLimit(f"Cannot link to /{target.name}, as it does not belong to the default network")
        yield alias, target, ip


def _variables(name: str, alias: str, target: Container, ip: str) -> Iterator[str]:
    upper = alias.upper().replace("-", "_")
    found = {_port(text) for text in target.config.exposed_ports or ()}
    exposed = sorted(found, key=lambda port: (port[1] != "tcp", port[1], port[0]))
    if exposed:
        number, protocol = exposed[0]
        yield f"{upper}_PORT={protocol}://{ip}:{number}"
    for run in _runs(exposed):
        for number, protocol in run:
            prefix = f"{upper}_PORT_{number}_{protocol.upper()}"
            yield f"{prefix}={protocol}://{ip}:{number}"
            yield f"{prefix}_ADDR={ip}"
            yield f"{prefix}_PORT={number}"
            yield f"{prefix}_PROTO={protocol}"
        (first, protocol), (last, _) = run[0], run[-1]
        if first != last:
            prefix = f"{upper}_PORT_{first}_{protocol.upper()}"
            yield f"{prefix}_START={protocol}://{ip}:{first}"
            yield f"{prefix}_PORT_START={first}"
            yield f"{prefix}_END={protocol}://{ip}:{last}"
            yield f"{prefix}_PORT_END={last}"
    yield f"{upper}_NAME=/{name}/{alias}"
    for item in target.config.env or ():
        variable, equals, value = item.partition("=")
        if equals and variable not in ("HOME", "PATH"):
            yield f"{upper}_ENV_{variable}={value}"


def _port(text: str) -> tuple[int, str]:
    number, _, protocol = ports.parse(text)
    return number, protocol


def _runs(exposed: Iterable[tuple[int, str]]) -> Iterator[Sequence[tuple[int, str]]]:
    """Ports that follow one another, of one protocol, together."""
    run: list[tuple[int, str]] = []
    for number, protocol in exposed:
        if run and run[-1] != (number - 1, protocol):
            yield run
            run = []
        run.append((number, protocol))
    if run:
        yield run


def shown(room: Room, record: Container) -> list[str] | None:
    """HostConfig.Links as inspect has them."""
    found = [
        f"/{room.table.find(target).record.name}:/{record.name}/{alias}"
        for alias, target in record.links.items()
        if target in room.table
    ]
    return sorted(found) or None


def names(room: Room) -> dict[str, list[str]]:
    """The names that links give: a linked container's id → "PARENT/ALIAS" of each container that links to it."""
    found: dict[str, list[str]] = {}
    for live in room.table:
        for alias, target in live.record.links.items():
            found.setdefault(target, []).append(f"{live.record.name}/{alias}")
    return found


def remove(room: Room, name: str) -> None:
    """Take the link "PARENT/ALIAS" away, from /etc/hosts too.

    Raises NotFound, HostLimit (in Docker's words, also for a name that is a container's own).
    """
    parent, slash, alias = name.strip("/").rpartition("/")
    if not slash:
        room.table.find(name)
        raise HostLimit("Conflict, cannot remove the default link name of the container")
    live = room.table.find(parent)
    if alias not in live.record.links:
        raise NotFound(f"No such container: {name}")
    before = live.record.links
    live.record.links = {key: target for key, target in before.items() if key != alias}
    try:
        room.table.save(live)
    except HostLimit:
        live.record.links = before
        raise
    if live.record.state.running:
        path = room.directory(live.record.id) / "hosts"
        text = path.read_bytes()
        # In place, for the file is bound into the container.
        path.write_bytes(re.sub(rb"(?m)^\S+\t" + re.escape(alias.encode()) + rb"(\s.*)?\n", b"", text))


def linking(room: Room, container_id: str) -> Iterator[tuple[Live, str]]:
    """The running containers that have a link to this one, with its alias."""
    for live in room.table:
        for alias, target in live.record.links.items():
            if target == container_id and live.record.state.running:
                yield live, alias


def moved(text: str, alias: str, ip: str) -> str:
    """/etc/hosts with another address for a linked container."""
    return re.sub(rf"(?m)^\S+(?=\t{re.escape(alias)}(\s|$))", ip, text)
