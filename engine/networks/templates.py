"""Configuration networks (`--config-only`): what others are made from (`--config-from`), and nothing else. Pure.

Rules and words are Docker's: libnetwork/network.go, validateConfiguration and applyConfigurationTo.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec

from dosirak.engine.errors import Forbidden, NotFound
from dosirak.engine.networks.model import CreateRequest, Ipam, Network


def source(request: CreateRequest) -> str:
    """The name of the network that a request takes its configuration from; "" without."""
    return (request.config_from.network if request.config_from else None) or ""


def check(request: CreateRequest) -> None:
    """Raises Forbidden for what the two kinds of request can't have."""
    if request.config_only and (request.ingress or request.internal or request.attachable or request.scope):
        raise Forbidden(
            "configuration network can only contain network specific fields. Network operator fields like"
            " [ ingress | internal | attachable | scope ] are not supported."
        )
    if not source(request):
        return
    if request.config_only:
        raise Forbidden("a configuration network cannot depend on another configuration network")
    ipam = request.ipam or Ipam()
    own = ipam.driver not in (None, "", "default") or ipam.options or ipam.config or request.labels
    if own or request.enable_ipv6 or request.enable_ipv4 is False:
        raise Forbidden(
            "user specified configurations are not supported if the network depends on a configuration network"
        )
    if request.options:
        raise Forbidden("network driver options are not supported if the network depends on a configuration network")


def applied(request: CreateRequest, existing: Iterable[Network]) -> CreateRequest:
    """The request with what it takes from a configuration network. Raises NotFound."""
    name = source(request)
    if not name:
        return request
    found = next((network for network in existing if network.template and name in (network.name, network.id)), None)
    if found is None or found.template is None:
        raise NotFound(f'configuration network "{name}" does not exist')
    return msgspec.structs.replace(
        request,
        ipam=found.template.ipam,
        enable_ipv6=found.template.enable_ipv6,
        options=found.template.options,
        labels=found.template.labels,
    )


def record(request: CreateRequest, network_id: str) -> Network:
    """A configuration network; it takes no subnet."""
    return Network(
        id=network_id,
        name=request.name,
        driver="null",
        created=time.time(),
        template=request,
        options=dict(request.options or {}),
        ipam_options=dict((request.ipam.options if request.ipam else None) or {}),
        labels=dict(request.labels or {}),
    )


def check_unused(network: Network, existing: Iterable[Network]) -> None:
    """Raises Forbidden for a configuration network that another one was made from."""
    if network.template and any(other.config_from == network.name for other in existing):
        raise Forbidden(f'configuration network "{network.name}" is in use')
