"""The model's parts as the messages to monitors have them."""

from __future__ import annotations

from typing import Any

from dosirak.engine.supervision.model import Attach, Launch, LogFile, Restart


def attach_entry(client: Attach) -> dict[str, Any]:
    """A stream client."""
    return {
        "stdin": client.stdin,
        "stdout": client.stdout,
        "stderr": client.stderr,
        "framed": client.framed,
        "detach_keys": client.detach_keys,
        "initial": client.initial,
        "gate": client.gate is not None,
    }


def launch_entry(launch: Launch) -> dict[str, Any]:
    """All of a launch but its descriptors and its document."""
    return {
        "id": launch.id,
        "bundle": str(launch.bundle),
        "log": log_entry(launch.log) if launch.log else None,
        "stdin": launch.stdin,
        "stdin_once": launch.stdin_once,
        "init": launch.init,
        "attach": [attach_entry(client) for client in launch.attach],
        "join": list(launch.join),
        "filter": launch.filter is not None,
        "restart": restart_entry(launch.restart),
        "size": launch.size or (0, 0),
        "gated": launch.meanwhile is not None,
    }


def log_entry(log: LogFile) -> dict[str, Any]:
    """Where output is written, and how."""
    return {
        "driver": log.driver,
        "path": str(log.path),
        "max_size": log.max_size,
        "max_files": log.max_files,
        "compress": log.compress,
        "attributes": log.attributes,
    }


def restart_entry(restart: Restart) -> dict[str, Any]:
    """A restart policy."""
    return {"policy": restart.policy, "max_retries": restart.max_retries, "restarts": restart.restarts}
