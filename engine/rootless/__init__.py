"""An ordinary user's engine: a user namespace of its own, in which the service is root, and a way out of it.

The *keeper* is a small process that holds the namespaces (user, mount, network) for as long as a service or a container
needs them; it outlives the service, so that the next one finds its containers again. The service enters the user and
the mount namespace and stays in the host's network: what it pulls, and what `--net host` sees, is the user's own
network. The keeper's network namespace is where bridges, rules and containers' links are; pasta (or slirp4netns) leads
from there to the outside, and the keeper carries what comes in by published ports.

- `ids`      which ids the user may use, and how they are mapped
- `outward`  the program that leads outside
- `making`   the namespaces and the keeper, made
- `entering` the service's way in
- `keeper`   the keeper's process; `relay` carries its connections
- `line`     what the service tells the keeper
"""

from dosirak.engine.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dosirak.engine.rootless.line import Line as Line


def enter(settings: Settings) -> "Line | None":
    """Become root of a user namespace, if this is an ordinary user; the line to its keeper. None for root.

    The caller holds the run directory's lock. Raises Unavailable, OSError.
    """
    import os

    if os.geteuid() == 0:
        return None
    from dosirak.engine.rootless.entering import enter as go  # root pays nothing for it

    return go(settings)
