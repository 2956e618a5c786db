"""Which networks a list shows and a prune removes: Docker's filters. Pure."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import datetime

from dosirak.engine.errors import InvalidRequest
from dosirak.engine.networks.model import PREDEFINED, Network
from dosirak.engine.state import Filters, check_filters
from dosirak.engine.state import filters as match

_LIST = frozenset(("dangling", "driver", "id", "label", "name", "scope", "type"))
_STAMP = re.compile(r"\d{1,12}(\.\d{1,9})?")
_DURATION = re.compile(r"(\d{1,9}(\.\d{1,9})?(ms|us|ns|[hms]))+")
_PART = re.compile(r"([\d.]+)(ms|us|ns|[hms])")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_PRUNE = frozenset(("label", "label!", "until"))


def listed(networks: Iterable[Network], filters: Filters) -> list[Network]:
    """`GET /networks`. Raises InvalidRequest for an unknown filter or value."""
    check_filters(filters, _LIST)
    for kind in filters.get("type", ()):
        if kind not in ("builtin", "custom"):
            raise InvalidRequest(f"invalid filter: 'type'='{kind}'")
    dangling = match.boolean(filters, "dangling", default=False)
    return [network for network in networks if _passes(network, filters, dangling)]


def _passes(network: Network, filters: Filters, dangling: bool) -> bool:
    kind = "builtin" if network.name in PREDEFINED else "custom"
    return (
        match.exact(filters, "driver", network.driver)
        and match.exact(filters, "scope", network.scope)
        and match.exact(filters, "type", kind)
        and match.fuzzy(filters, "id", network.id)
        and match.pattern(filters, "name", network.name)
        and match.labels(filters, "label", network.labels)
        and ("dangling" not in filters or dangling == (kind == "custom" and not network.endpoints))
    )


def prunable(networks: Iterable[Network], filters: Filters) -> list[Network]:
    """`POST /networks/prune`: what nobody uses. Raises InvalidRequest."""
    check_filters(filters, _PRUNE)
    before = _until(filters)
    without = {"label": filters["label!"]} if "label!" in filters else None
    return [
        network
        for network in networks
        if network.name not in PREDEFINED
        and not network.endpoints
        and (before is None or network.created <= before)
        and match.labels(filters, "label", network.labels)
        and not (without and match.labels(without, "label", network.labels))
    ]


def _until(filters: Filters) -> float | None:
    values = filters.get("until", ())
    if len(values) > 1:
        raise InvalidRequest("more than one until filter specified")
    return _moment(values[0]) if values else None


def _moment(text: str) -> float:
    """Unix seconds of "1700000000", "2026-01-02T03:04:05Z", "2026-01-02", or of "1h30m" ago."""
    if _STAMP.fullmatch(text):
        return float(text)
    if _DURATION.fullmatch(text):
        return time.time() - sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise InvalidRequest(f'failed to parse value as time or duration: "{text[:40]}"') from None
