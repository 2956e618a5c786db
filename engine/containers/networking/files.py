"""/etc/hosts, /etc/resolv.conf and /etc/hostname of a container, in its bundle and bound into its root."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from dosirak.engine.containers.model import Container
from dosirak.engine.containers.networking import links
from dosirak.engine.containers.room import Room
from dosirak.engine.networks import Sandbox, files
from dosirak.engine.networks.model import Endpoint

_log = logging.getLogger(__name__)


def places(room: Room, record: Container, sandbox: Sandbox | None) -> dict[str, str]:
    """Destination → file; with another's network they are the other's."""
    mode = record.host_config.network_mode
    directory = room.directory(record.id if sandbox else mode.removeprefix("container:"))
    return {f"/etc/{name}": f"{directory}/{name}" for name in ("hosts", "resolv.conf", "hostname")}


def write(room: Room, record: Container, sandbox: Sandbox | None, directory: Path) -> None:
    """Write them, at the container's start, unless they are another's. Raises OSError, InvalidRequest."""
    config, host = record.config, record.host_config
    if sandbox is None:
        return
    on_host = sandbox.netns_fd is None
    gateway = next((endpoint.gateway for endpoint in sandbox.endpoints if endpoint.gateway), "")
    texts = {
        "hostname": files.hostname(config.hostname, config.domainname),
        "hosts": files.hosts(
            config.hostname,
            config.domainname,
            ips=[ip for endpoint in sandbox.endpoints for ip in (endpoint.ip, endpoint.ip6) if ip],
            extra=host.extra_hosts or (),
            linked=links.hosts(room, record),
            host_gateway=gateway or "127.0.0.1",
            base=files.read_hosts() if on_host else None,
        ),
        "resolv.conf": _resolv_conf(record, sandbox),
    }
    for name, text in texts.items():
        write_file(f"{directory}/{name}", text.encode())


def update(room: Room, record: Container, before: Sandbox | None, after: Sandbox | None) -> None:
    """After a running container got or lost a network. What somebody has changed in a file stays as it is."""
    directory = room.directory(record.id)
    old = before.endpoints if before else ()
    new = after.endpoints if after else ()
    try:
        _update_hosts(directory / "hosts", record, old, new)
        _update_resolv_conf(directory / "resolv.conf", record, before, after)
    except OSError as error:
        _log.warning("container %s: its network files: %s", record.short_id, error)


def tell_linking(room: Room, record: Container, sandbox: Sandbox | None) -> None:
    """A container that is linked to has started: those that link to it learn its address, which may be a new one."""
    ip = next((one.ip for one in sandbox.endpoints if one.network == "bridge"), "") if sandbox else ""
    for live, alias in links.linking(room, record.id) if ip else ():
        path = room.directory(live.record.id) / "hosts"
        try:
            text = path.read_text(errors="surrogateescape")
            changed = links.moved(text, alias, ip)
            if changed != text:
                write_file(str(path), changed.encode(errors="surrogateescape"))
        except OSError as error:
            _log.warning("container %s: /etc/hosts: %s", live.record.short_id, error)


def _update_hosts(path: Path, record: Container, old: tuple[Endpoint, ...], new: tuple[Endpoint, ...]) -> None:
    text = path.read_text(errors="surrogateescape")
    gone, kept = _own_lines(record, old), _own_lines(record, new)
    lines = [line for line in text.splitlines(keepends=True) if line not in gone - kept]
    lines += sorted(kept - gone)
    changed = "".join(lines)
    if changed != text:
        write_file(str(path), changed.encode(errors="surrogateescape"))


def _own_lines(record: Container, endpoints: tuple[Endpoint, ...]) -> set[str]:
    config = record.config
    addresses = [address for endpoint in endpoints for address in (endpoint.ip, endpoint.ip6)]
    return {files.host_line(address, config.hostname, config.domainname) for address in addresses}


def _update_resolv_conf(path: Path, record: Container, before: Sandbox | None, after: Sandbox | None) -> None:
    """The first network of somebody's own brings the name server; it stays when that network goes, as in Docker."""
    if before is None or after is None or before.named == after.named:
        return
    if path.read_text(errors="surrogateescape") == _resolv_conf(record, before):
        write_file(str(path), _resolv_conf(record, after).encode())


def _resolv_conf(record: Container, sandbox: Sandbox) -> str:
    host = record.host_config
    return files.resolv_conf(
        files.read_resolv_conf(),
        dns=host.dns or (),
        search=host.dns_search or (),
        options=host.dns_options or (),
        ipv6=any(endpoint.ip6 for endpoint in sandbox.endpoints),
        own_network=sandbox.netns_fd is not None,
        named=sandbox.named,
        instead=sandbox.nameserver,
    )


def write_file(path: str, data: bytes) -> None:
    """Write a file of a bundle, which is there already (`Bundles`). Raises OSError.

    Cut to its length afterwards: ext4 takes three times as long when it is cut to nothing first. In place, for it is
    bound into the container.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        written = os.write(fd, data)
        if written != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        os.ftruncate(fd, written)
    finally:
        os.close(fd)
