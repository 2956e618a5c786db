"""Which networks a list shows and a prune removes: Docker's filters. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from dosirak.engine.errors import InvalidRequest
from dosirak.engine.networks.model import PREDEFINED, Network
from dosirak.engine.state import Filters, check_filters
from dosirak.engine.state import filters as match
from dosirak.engine.state.pruning import choice

_LIST = frozenset(("dangling", "driver", "id", "label", "name", "scope", "type"))


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
    chosen = choice(filters)
    return [
        network
        for network in networks
        if network.name not in PREDEFINED
        and not network.template
        and not network.endpoints
        and chosen.takes(int(network.created * 1e9), network.labels)
    ]
