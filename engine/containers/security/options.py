"""`--security-opt`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dosirak.engine.errors import InvalidRequest
from dosirak.engine.go import parse_bool


@dataclass(frozen=True, slots=True)
class SecurityOptions:
    """What `--security-opt` asks for. `unmasked`: systempaths=unconfined; `writable_cgroups` None: as privileged;
    `seccomp`: "unconfined", "builtin", a profile's JSON, "" if nothing is said; `apparmor`: a profile's name, or ""."""

    no_new_privileges: bool = False
    unmasked: bool = False
    writable_cgroups: bool | None = None
    seccomp: str = ""
    apparmor: str = ""


def parse_security_options(options: Sequence[str], *, apparmor: bool) -> SecurityOptions:
    """Docker's `--security-opt` values. `apparmor`: whether the host has it.

    Raises InvalidRequest for an unknown one, and for a profile that the host can't have.
    """
    no_new_privileges = unmasked = False
    writable: bool | None = None
    seccomp = profile = ""
    for option in options:
        name, separator, value = option.partition("=" if "=" in option else ":")
        if option in ("no-new-privileges", "writable-cgroups"):
            separator, value = "=", "true"
        if not separator and option != "disable":
            raise InvalidRequest(f'invalid --security-opt 1: "{option}"')
        if name == "no-new-privileges":
            no_new_privileges = _truth(option, value)
        elif name == "writable-cgroups":
            writable = _truth(option, value)
        elif name == "systempaths" and value == "unconfined":
            unmasked = True
        elif name == "seccomp":
            seccomp = value
        elif name == "apparmor":
            profile = _profile(value, apparmor)
        elif name not in ("label", "disable"):  # SELinux labels: without SELinux they mean nothing, as in Docker
            raise InvalidRequest(f'invalid --security-opt 2: "{option}"')
    return SecurityOptions(no_new_privileges, unmasked, writable, seccomp, profile)


def _truth(option: str, value: str) -> bool:
    found = parse_bool(value)
    if found is None:
        raise InvalidRequest(f'invalid --security-opt 2: "{option}"')
    return found


def _profile(value: str, apparmor: bool) -> str:
    if value != "unconfined" and not apparmor:
        raise InvalidRequest(f'AppArmor is not supported on this host, but the profile "{value}" was asked for')
    if not value.isprintable() or not value.strip():  # the kernel takes it as a line
        raise InvalidRequest(f"invalid AppArmor profile {value!r}")
    return value
