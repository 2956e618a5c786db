"""From a record to a running process: network, files, document, launch; and everything undone if a step fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dosirak.engine.containers import ipc, security, spec
from dosirak.engine.containers.documents import HostConfig
from dosirak.engine.containers.limits import group
from dosirak.engine.containers.live import Live
from dosirak.engine.containers.logs.options import log_of
from dosirak.engine.containers.model import Container
from dosirak.engine.containers.networking import files as network_files
from dosirak.engine.containers.networking import joining, links
from dosirak.engine.containers.room import Room
from dosirak.engine.containers.security import apparmor
from dosirak.engine.containers.sharing import joining as sharing
from dosirak.engine.containers.sharing import modes
from dosirak.engine.containers.spec import Resolved
from dosirak.engine.errors import HostLimit
from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.defaults import DEVICE_RULES
from dosirak.engine.supervision.model import Launch, Restart

if TYPE_CHECKING:
    from dosirak.engine.networks import Sandbox
    from dosirak.engine.runtime.seccomp import Filter
    from dosirak.engine.supervision.task import Task

_encode = msgspec.json.Encoder().encode


async def launch(room: Room, live: Live) -> Task:
    """Start the container's process. Raises StartFailed, Conflict, NotFound, HostLimit; nothing is left then."""
    record = live.record
    async with AsyncExitStack() as undo:
        join, network = await sharing.join(room, record, undo)
        try:
            sandbox = await joining.join(room, record, undo, network)
        finally:
            if network is not None:
                os.close(network)
        room.tell_network(live, "connect", sandbox)
        undo.callback(room.tell_network, live, "disconnect", sandbox)
        if sandbox is not None and sandbox.netns_fd is not None:
            join["network"] = sandbox.netns_fd
        shm = ipc.prepare(room.directory(record.id), record.host_config, _partner_directory(room, record))
        if shm:
            undo.callback(ipc.release, room.directory(record.id))
        confined = await choose_filter(room, record.host_config)
        described = room, record, network_files.places(room, record, sandbox), confined, shm, frozenset(join)
        if record.host_config.devices:  # may be a whole tree of directories
            document = await asyncio.to_thread(describe, *described)
        else:
            document = describe(*described)
        attaches, live.attaches = tuple(live.attaches), []
        asked = _launch_of(room, record, document, confined, join, attaches)
        asked = replace(asked, meanwhile=lambda: _write_bundle(room, record, sandbox, document))
        try:
            task = await room.launcher.launch(asked)
        except HostLimit:
            # Killed in its middle: nobody has removed the cgroup.
            await asyncio.to_thread(cgroups.remove, group.path_of(record))
            raise
        network_files.tell_linking(room, record, sandbox)
        # Undone only when something failed. The descriptors of others' namespaces are closed by their own callbacks.
        undo.pop_all()
        for name, fd in join.items():
            if name != "network" or sandbox is None:
                os.close(fd)
        return task


async def choose_filter(room: Room, host: HostConfig) -> Filter | None:
    """The seccomp filter of a container, its execs too; its AppArmor profile is there then. Raises InvalidRequest,
    HostLimit."""
    options = security.parse_security_options(host.security_opt or (), apparmor=room.facts.apparmor)
    if room.facts.apparmor:
        await apparmor.ensure(apparmor.profile_of(host, options.apparmor, supported=True))
    bounding = security.choose_capabilities(host, room.facts.capabilities)
    return await room.confinement.choose(host, options.seccomp, bounding)


def _launch_of(
    room: Room,
    record: Container,
    document: dict[str, Any],
    confined: Filter | None,
    join: dict[str, int],
    attaches: Any,
) -> Launch:
    config, host = record.config, record.host_config
    policy = host.restart_policy
    return Launch(
        id=record.id,
        bundle=room.directory(record.id),
        spec=without_filter(document),
        log=log_of(record),
        stdin=config.open_stdin,
        stdin_once=config.stdin_once,
        attach=attaches,
        join=join,
        filter=confined,
        # Elsewhere there is a first process already, as in Docker.
        init=bool(host.init) and not host.pid_mode,
        # One that joins others is started again by `lifecycle`: what there is to join may be another one by then.
        restart=Restart(
            "no" if modes.targets(host) else policy.name or "no", policy.maximum_retry_count, record.restart_count
        ),
        size=host.console_size if any(host.console_size) else None,
    )


def _partner_directory(room: Room, record: Container) -> Path | None:
    mode = record.host_config.ipc_mode
    return room.directory(mode.removeprefix("container:")) if mode.startswith("container:") else None


# The bundle's files


def describe(
    room: Room, record: Container, own: dict[str, str], confined: Filter | None, shm: str, joined: frozenset[str]
) -> dict[str, Any]:
    """The container's document. Raises HostLimit, InvalidRequest."""
    try:
        return spec.build(record, resolve(room, record, own, confined, shm, joined))
    except OSError as error:
        raise HostLimit(f"{record.short_id}: {os.strerror(error.errno or 0).lower()}") from error


def _write_bundle(room: Room, record: Container, sandbox: Sandbox | None, document: dict[str, Any]) -> None:
    """Write config.json and the three network files. Raises HostLimit (disk full), InvalidRequest."""
    directory = room.directory(record.id)
    try:
        network_files.write(room, record, sandbox, directory)
        write_document(directory, document)
        if record.state.started_at:
            with contextlib.suppress(FileNotFoundError):
                # An earlier run's note makes room for the next.
                (directory / "exit.json").rename(directory / "exit.json.new")
    except OSError as error:
        raise HostLimit(f"{directory}: {os.strerror(error.errno or 0).lower()}") from error


def write_document(bundle: Path, document: dict[str, Any]) -> None:
    """Write config.json. Raises OSError."""
    network_files.write_file(f"{bundle}/config.json", _encode(document))


def without_filter(document: dict[str, Any]) -> dict[str, Any]:
    """A document as a launch takes it: the filter goes compiled, and of itself only what the start needs to know."""
    filtered = bytes(document["linux"].get("seccomp", b""))
    return {**document, "linux": {**document["linux"], "seccomp": security.told(filtered)}}


def resolve(
    room: Room,
    record: Container,
    own: dict[str, str],
    confined: Filter | None,
    shm: str = "",
    joined: frozenset[str] = frozenset(),
) -> Resolved:
    """All that the document needs besides the record. Raises InvalidRequest for a device that isn't there."""
    host, directory = record.host_config, room.directory(record.id)
    options = security.parse_security_options(host.security_opt or (), apparmor=room.facts.apparmor)
    devices: list[dict[str, Any]] = security.host_devices() if host.privileged else []
    rules: list[dict[str, Any]] = [{"allow": True, "access": "rwm"}] if host.privileged else list(DEVICE_RULES)
    present = {device["path"] for device in devices}
    for mapping in host.devices or ():
        for device in security.devices_of(mapping):
            if device["path"] not in present:
                devices.append(device)
            if not host.privileged:
                numbers = {"type": device["type"], "major": device["major"], "minor": device["minor"]}
                rules.append({"allow": True, **numbers, "access": mapping.cgroup_permissions or "rwm"})
    if not host.privileged:
        rules += security.device_rules(host.device_cgroup_rules or ())
    return Resolved(
        lower=[*record.layers, str(room.bundles.places)],
        upper=f"{directory}/upper",
        work=f"{directory}/work",
        files=own,
        capabilities=security.choose_capabilities(host, room.facts.capabilities),
        no_new_privileges=options.no_new_privileges,
        apparmor=apparmor.profile_of(host, options.apparmor, supported=room.facts.apparmor),
        writable_cgroups=bool(options.writable_cgroups),
        unmasked=options.unmasked,
        seccomp=confined.document if confined is not None else b"",
        devices=devices,
        device_rules=rules,
        shm=shm,
        joined=joined,
        linked=links.environment(room, record),
    )
