"""Which capabilities a container gets: `--cap-add`, `--cap-drop`, `--privileged` over Docker's defaults."""

from __future__ import annotations

from collections.abc import Sequence

from dosirak.engine.containers.documents import HostConfig
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.runtime import capabilities
from dosirak.engine.runtime import syscalls as sys
from dosirak.engine.runtime.defaults import DEFAULT_CAPABILITIES


def available_capabilities() -> tuple[str, ...]:
    """What the engine itself holds in its bounding set: all that a container can be given."""
    held = []
    for number, name in enumerate(capabilities.NAMES):
        try:
            if sys.prctl(sys.PR_CAPBSET_READ, number):
                held.append(name)
        except OSError:
            break
    return tuple(held)


def choose_capabilities(host: HostConfig, available: Sequence[str]) -> list[str]:
    """`--cap-add`, `--cap-drop` and `--privileged` over Docker's defaults.

    Parameters: `available`: what the engine holds. Raises InvalidRequest "invalid CapAdd: unknown capability: "CAP_X""
    (also where the engine lacks it: a capability asked for by name is never left out silently).
    """
    if host.privileged:
        return list(available)
    added = _normalise("CapAdd", host.cap_add or (), available)
    dropped = _normalise("CapDrop", host.cap_drop or (), available)
    if "ALL" in added:
        return [name for name in available if name not in dropped]
    base = [] if "ALL" in dropped else [name for name in DEFAULT_CAPABILITIES if name not in dropped]
    return list(dict.fromkeys([*base, *added]))


def _normalise(field: str, names: Sequence[str], available: Sequence[str]) -> list[str]:
    found = []
    for name in names:
        upper = name.upper()
        if upper != "ALL" and not upper.startswith("CAP_"):
            upper = f"CAP_{upper}"
        if upper != "ALL" and upper not in capabilities.KNOWN:
            raise InvalidRequest(f'invalid {field}: unknown capability: "{upper}"')
        if field == "CapAdd" and upper != "ALL" and upper not in available:
            raise InvalidRequest(
                f"invalid {field}: capability not supported by your kernel or not available in the current environment:"
                f' "{upper}"'
            )
        found.append(upper)
    return found
