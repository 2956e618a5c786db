"""Networks: drivers, address management, links, names, published ports, and the files a container's resolver reads.

`Networks` is the room's door; `model` its plain data; `files` makes /etc/hosts, /etc/resolv.conf, /etc/hostname.
`drivers` has a module a kind of network, `boxes` a container's connections to several, `dns` the name server;
`creating` and `options` are `network create`; `home` says whose network the bridges are in. Everything is done by
netlink and nf_tables, in one table of the engine's own, on one network thread.

This file imports nothing until it is asked: the name server's process starts through it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dosirak.engine.networks.home import Home
    from dosirak.engine.networks.manager import Networks
    from dosirak.engine.networks.model import BoundPort, Endpoint, Join, Network, PortBinding, Resolver, Sandbox

__all__ = ["BoundPort", "Endpoint", "Home", "Join", "Network", "Networks", "PortBinding", "Resolver", "Sandbox"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dosirak.engine.networks import home, manager, model

    return getattr({"Networks": manager, "Home": home}.get(name, model), name)
