"""`ps`: Docker's filters, its order and its words for a state. Pure, given the records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from dosirak.engine.containers import ports
from dosirak.engine.containers.model import Container, PortBinding
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.state import Filters, check_filters
from dosirak.engine.state import filters as match

KNOWN_FILTERS = frozenset(
    {"ancestor", "before", "exited", "expose", "health", "id", "isolation", "is-task", "label", "name", "network"}
    | {"publish", "since", "status", "volume"}
)
_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
_HEALTH = ("none", "starting", "healthy", "unhealthy")

Find = Callable[[str], Container]
Ports = Callable[[Container], Mapping[str, Sequence[PortBinding] | None]]


def choose(
    containers: Iterable[Container], *, all: bool, limit: int, filters: Filters, find: Find, published: Ports
) -> list[Container]:
    """The containers to show, the newest first.

    Parameters: `limit` 0 is all; `find`: a container by its ref (for `before` and `since`), raising NotFound;
    `published`: a container's ports. Raises InvalidRequest for a filter's key or value.
    """
    _check(filters)
    before = _bound(filters, "before", find)
    since = _bound(filters, "since", find)
    everything = all or limit > 0 or "status" in filters
    found = []
    for container in sorted(containers, key=lambda entry: entry.created, reverse=True):
        if before is not None and container.created >= before:
            continue
        if since is not None and container.created <= since:
            break
        if not (everything or container.state.running) or not _matches(filters, container, published):
            continue
        found.append(container)
        if limit and len(found) == limit:
            break
    return found


def _check(filters: Filters) -> None:
    check_filters(filters, KNOWN_FILTERS)
    for key, valid in (("status", _STATES), ("health", _HEALTH)):
        for value in filters.get(key, ()):
            if value not in valid:
                raise InvalidRequest(
                    f"invalid filter '{key}={value}': invalid value for {_noun(key)} ({value}): must be one of"
                    f" {', '.join(valid)}"
                )
    for value in filters.get("exited", ()):
        if not value.removeprefix("-").isdecimal():
            raise InvalidRequest(f"invalid filter 'exited={value}': strconv.Atoi: parsing \"{value}\": invalid syntax")


def _noun(key: str) -> str:
    return "state" if key == "status" else "health"


def _bound(filters: Filters, key: str, find: Find) -> float | None:
    times = [find(ref).created for ref in filters.get(key, ())]
    return times[-1] if times else None


def _matches(filters: Filters, container: Container, published: Ports) -> bool:
    if not filters:
        return True
    state = container.state
    return (
        (match.pattern(filters, "name", container.name) or match.pattern(filters, "name", f"/{container.name}"))
        and match.fuzzy(filters, "id", container.id)
        and match.labels(filters, "label", container.config.labels or {})
        and match.exact(filters, "status", state.status)
        and match.exact(filters, "health", state.health.status if state.health else "none")
        and (not filters.get("exited") or _exited(filters, container))
        and (not filters.get("ancestor") or _descends(filters["ancestor"], container))
        and (not filters.get("volume") or _mounts(filters["volume"], container))
        and (not filters.get("network") or _on_network(filters["network"], container))
        and ("is-task" not in filters or not match.boolean(filters, "is-task", False))
        and (not (filters.get("publish") or filters.get("expose")) or _has_port(filters, published(container)))
    )


def _exited(filters: Filters, container: Container) -> bool:
    state = container.state
    return not state.running and bool(state.started_at) and str(state.exit_code) in filters["exited"]


def _descends(wanted: Sequence[str], container: Container) -> bool:
    """By the image's id (or its beginning), or its name with or without a tag."""
    digits = container.image.removeprefix("sha256:")
    name = container.config.image
    return any(
        value in (name, container.image)
        or (len(value) >= 4 and digits.startswith(value.removeprefix("sha256:")))
        or _with_tag(value) == _with_tag(name)
        for value in wanted
    )


def _with_tag(name: str) -> str:
    last = name.rpartition("/")[2]
    return name if ":" in last or "@" in name else f"{name}:latest"


def _mounts(wanted: Sequence[str], container: Container) -> bool:
    return any(
        value in (plan.name or plan.source, plan.destination) for plan in container.mount_plans for value in wanted
    )


def _on_network(wanted: Sequence[str], container: Container) -> bool:
    return any(
        value == name or (settings.network_id and settings.network_id.startswith(value))
        for name, settings in container.networks.items()
        for value in wanted
    )


def _has_port(filters: Filters, found: Mapping[str, Sequence[PortBinding] | None]) -> bool:
    public = {
        f"{binding.host_port}/{port.partition('/')[2]}"
        for port, bindings in found.items()
        for binding in bindings or ()
    }
    return bool(_expanded("publish", filters) & public or _expanded("expose", filters) & found.keys())


def _expanded(key: str, filters: Filters) -> set[str]:
    found = set()
    for value in filters.get(key, ()):
        if ":" in value:
            raise InvalidRequest(f"filter for '{key}' should not contain ':': {value}")
        first, last, protocol = ports.parse(value)
        found |= {f"{port}/{protocol}" for port in range(first, last + 1)}
    return found


def status(container: Container, now: float | None = None) -> str:
    """Docker's words for a state: "Up 2 minutes", "Exited (0) 3 seconds ago"."""
    state = container.state
    now = time.time() if now is None else now
    if state.running:
        if state.restarting:
            return f"Restarting ({state.exit_code}) {duration(now - state.finished_at)} ago"
        note = "Paused" if state.paused else state.health.words if state.health else ""
        return f"Up {duration(now - state.started_at)}" + (f" ({note})" if note else "")
    if state.removing:
        return "Removal In Progress"
    if state.dead:
        return "Dead"
    if not state.started_at:
        return "Created"
    return f"Exited ({state.exit_code}) {duration(now - state.finished_at)} ago" if state.finished_at else ""


def duration(seconds: float) -> str:
    """Docker's rough words for a time span (go-units, HumanDuration)."""
    whole = int(seconds)
    hours = int(seconds / 3600 + 0.5)
    steps = (
        (whole < 1, "Less than a second"),
        (whole == 1, "1 second"),
        (whole < 60, f"{whole} seconds"),
        (whole // 60 == 1, "About a minute"),
        (whole // 60 < 60, f"{whole // 60} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 24 * 7 * 2, f"{hours // 24} days"),
        (hours < 24 * 30 * 2, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 365 * 2, f"{hours // 24 // 30} months"),
    )
    return next((words for holds, words in steps if holds), f"{int(seconds / 3600) // 24 // 365} years")
