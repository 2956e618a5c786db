"""`update`, `pause`, `unpause`: what a container may take, and whether it goes on."""

from __future__ import annotations

from typing import Any

import click

from dosirak.magics.commands import many
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import UsageError
from dosirak.magics.grammar.create.flags import LIMITS
from dosirak.magics.grammar.create.security import restart_policy
from dosirak.magics.grammar.flags import Command, flag
from dosirak.magics.grammar.values import SIZE

_SEVERAL = "[OPTIONS] CONTAINER [CONTAINER...]"
# Of the flags of `create`, those that a running container can take; those for devices are ours, docker has none.
_DEVICES = {
    "blkio_weight_device": "BlkioWeightDevice",
    "device_read_bps": "BlkioDeviceReadBps",
    "device_write_bps": "BlkioDeviceWriteBps",
    "device_read_iops": "BlkioDeviceReadIOps",
    "device_write_iops": "BlkioDeviceWriteIOps",
}
_NUMBERS = {
    "blkio_weight": "BlkioWeight",
    "cpu_period": "CpuPeriod",
    "cpu_quota": "CpuQuota",
    "cpu_rt_period": "CpuRealtimePeriod",
    "cpu_rt_runtime": "CpuRealtimeRuntime",
    "cpu_shares": "CpuShares",
    "cpus": "NanoCpus",
    "cpuset_cpus": "CpusetCpus",
    "cpuset_mems": "CpusetMems",
    "memory": "Memory",
    "memory_reservation": "MemoryReservation",
    "memory_swap": "MemorySwap",
}


@click.command("pause", cls=Command, usage="CONTAINER [CONTAINER...]", at_least=1)
@click.argument("containers", nargs=-1)
@click.pass_obj
def pause(session: Session, containers: tuple[str, ...]) -> Result:
    """Make all processes of containers stand still; the value is the container."""
    return many.containers(
        session, containers, lambda name: session.engine.post(f"/containers/{name}/pause"), at_once=True
    )


@click.command("unpause", cls=Command, usage="CONTAINER [CONTAINER...]", at_least=1)
@click.argument("containers", nargs=-1)
@click.pass_obj
def unpause(session: Session, containers: tuple[str, ...]) -> Result:
    """Let paused containers go on; the value is the container."""
    return many.containers(
        session, containers, lambda name: session.engine.post(f"/containers/{name}/unpause"), at_once=True
    )


def _limit_flags(command: Any) -> Any:
    known = {*_NUMBERS, *_DEVICES, "pids_limit"}
    for option in reversed(LIMITS):
        probe: Any = option(click.Command("probe"))
        if probe.params[0].name in known:
            command = option(command)
    return command


@click.command("update", cls=Command, usage=_SEVERAL, at_least=1)
@_limit_flags
@flag("--restart", help="Restart policy: no, always, unless-stopped, on-failure[:n].")
@flag("--kernel-memory", type=SIZE, default=0, help="Discarded: the kernel has it no longer.", hidden=True)
@click.argument("containers", nargs=-1)
@click.pass_obj
def update(session: Session, /, containers: tuple[str, ...], **flags: Any) -> Result:
    """Change limits and the restart policy of containers, running or not; the value is the container."""
    body = _body(flags)
    warnings: list[str] = []

    def updated(name: str) -> None:
        warnings.extend((session.engine.post(f"/containers/{name}/update", body=body) or {}).get("Warnings") or [])

    try:
        result = many.containers(session, containers, updated)
    except many.SomeFailed:
        for line in warnings:
            session.door.say(line)
        raise
    if session.door.escalates:
        for line in warnings:
            session.door.note(line)
    return Result(result.value, "\n".join([result.plain or "", *warnings]))


def _body(flags: dict[str, Any]) -> dict[str, Any]:
    """The request, as the docker CLI 28 writes it. Raises UsageError."""
    if not any(flags.values()):
        raise UsageError("you must provide one or more flags when using this command", 1)
    try:
        restart = restart_policy(flags["restart"])
    except ValueError as error:
        raise UsageError(str(error), 1) from error
    return {
        **{field: flags[name] for name, field in _NUMBERS.items()},
        **({"KernelMemory": flags["kernel_memory"]} if flags["kernel_memory"] else {}),
        **{field: list(flags[name]) or None for name, field in _DEVICES.items()},
        "PidsLimit": flags["pids_limit"] or None,
        "RestartPolicy": restart,
        "CgroupParent": "",
        **dict.fromkeys(("Devices", "DeviceCgroupRules", "DeviceRequests", "MemorySwappiness", "OomKillDisable")),
        "Ulimits": None,
        **dict.fromkeys(("CpuCount", "CpuPercent", "IOMaximumIOps", "IOMaximumBandwidth"), 0),
    }
