"""`--security-opt`, namespace modes, restart policy, health: the rest of HostConfig that needs checking."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from dosirak.magics.grammar.values import parse_int

_BUILTIN_PROFILES = ("builtin", "unconfined")


def security_options(options: list[str]) -> dict[str, Any]:
    """Return SecurityOpt, MaskedPaths, ReadonlyPaths; a seccomp profile's file is read here and sent along."""
    sent: list[str] = []
    unmasked = False
    for option in options:
        if option == "systempaths=unconfined":
            unmasked = True  # a matter of the client: the engine gets empty lists
            continue
        sent.append(_security_option(option))
    paths: list[str] | None = [] if unmasked else None
    return {"SecurityOpt": sent if options else None, "MaskedPaths": paths, "ReadonlyPaths": paths}


def _security_option(option: str) -> str:
    key, separator, value = option.partition("=")
    if not separator and key != "no-new-privileges":
        key, separator, value = option.partition(":")
    if (not separator or not value) and key != "no-new-privileges":
        raise ValueError(f'Invalid --security-opt: "{option}"')
    if key == "seccomp" and value not in _BUILTIN_PROFILES:
        return f"seccomp={_profile(value)}"
    return option


def _profile(name: str) -> str:
    try:
        text = Path(name).read_text()
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise ValueError(f"opening seccomp profile ({name}) failed: open {name}: {reason}") from error
    try:
        return json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)
    except ValueError as error:
        raise ValueError(f"compacting json for seccomp profile ({name}) failed: {error}") from error


# Docker's client knows the first alone; the engine says what is wrong with the rest.
_USER_MODE = re.compile(r"(host|keep-id|auto(:size=\d+)?|container:.+)?")


def namespaces(flags: dict[str, Any]) -> dict[str, str]:
    """Return the namespace modes of HostConfig, checked as the docker CLI checks them."""
    pid, uts, userns, cgroupns = flags["pid"], flags["uts"], flags["userns"], flags["cgroupns"]
    if pid not in ("", "host") and not (pid.startswith("container:") and pid != "container:"):
        raise ValueError("--pid: invalid PID mode")
    if uts not in ("", "host"):
        raise ValueError("--uts: invalid UTS mode")
    if not _USER_MODE.fullmatch(userns):
        raise ValueError("--userns: invalid USER mode")
    if cgroupns not in ("", "host", "private"):
        raise ValueError("--cgroupns: invalid CGROUP mode")
    return {"PidMode": pid, "UTSMode": uts, "UsernsMode": userns, "CgroupnsMode": cgroupns, "IpcMode": flags["ipc"]}


def capabilities(names: list[str]) -> list[str] | None:
    """Return CapAdd or CapDrop: "net_admin" → "CAP_NET_ADMIN", sorted, each once."""
    words = {name.strip().upper() for name in names}
    return sorted({w if w == "ALL" or w.startswith("CAP_") else f"CAP_{w}" for w in words}) or None


def restart_policy(text: str) -> dict[str, Any]:
    """Return RestartPolicy of "no", "always", "on-failure:3", …; the engine knows which names exist."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    try:
        retries = parse_int(count) if count else 0
    except ValueError:
        raise ValueError("invalid restart policy format: maximum retry count must be an integer") from None
    return {"Name": name, "MaximumRetryCount": retries}


def healthcheck(flags: dict[str, Any]) -> dict[str, Any] | None:
    """Return Healthcheck, or None when the image's own stands; durations in nanoseconds."""
    command = flags["health_cmd"]
    numbers = {
        "Interval": flags["health_interval"],
        "Timeout": flags["health_timeout"],
        "StartPeriod": flags["health_start_period"],
        "StartInterval": flags["health_start_interval"],
        "Retries": flags["health_retries"],
    }
    given = bool(command or any(numbers.values()))
    if flags["no_healthcheck"]:
        if given:
            raise ValueError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    if not given:
        return None
    names = {"StartPeriod": "start-period", "StartInterval": "start-interval"}
    for key, value in numbers.items():
        if value < 0:
            raise ValueError(f"--health-{names.get(key, key.lower())} cannot be negative")
    check: dict[str, Any] = {"Test": ["CMD-SHELL", command]} if command else {}
    return check | {key: value for key, value in numbers.items() if value}


def logging(driver: str, options: dict[str, str]) -> dict[str, Any]:
    """Return LogConfig."""
    if driver == "none" and options:
        raise ValueError(f"invalid logging opts for driver {driver}")
    return {"Type": driver, "Config": options}


def storage(options: list[str]) -> dict[str, str]:
    """Return StorageOpt."""
    if any("=" not in option for option in options):
        raise ValueError("invalid storage option")
    return {key: value for key, _, value in (option.partition("=") for option in options)}
