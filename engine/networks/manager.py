"""The room's door: what other rooms ask of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dosirak.engine.networks.model import Network, PortBinding, Sandbox

if TYPE_CHECKING:
    from dosirak.engine.settings import Settings
    from dosirak.engine.state.database import Database


class Networks:
    """Every network of one engine root. All methods are called on the event loop's thread."""

    def __init__(self, db: Database, settings: Settings) -> None: ...

    async def start(self) -> None:
        """Reads the records; touches no kernel object (the bridge comes with the first container that needs it)."""
        raise NotImplementedError

    async def close(self) -> None:
        """Ends the network thread and gives back what no container uses; running containers keep everything."""
        raise NotImplementedError

    def list(self) -> list[Network]:
        """All networks, with their endpoints, in Docker's order (by name)."""
        raise NotImplementedError

    def inspect(self, ref: str) -> Network:
        """The network of this name, id or unambiguous id prefix. Raises NotFound "network X not found"."""
        raise NotImplementedError

    async def connect(
        self,
        container_id: str,
        name: str,
        network: str = "bridge",
        *,
        ports: Sequence[PortBinding] = (),
        hostname: str = "",
        mac: str | None = None,
        ip: str | None = None,
    ) -> Sandbox:
        """A namespace connected to `network`, ready to be passed as `Launch.join["network"]`."""
        raise NotImplementedError

    async def disconnect(self, container_id: str) -> None:
        """Frees addresses and ports of a container; does nothing if it has none. Slow parts go on in the background."""
        raise NotImplementedError

    def sandbox(self, container_id: str) -> Sandbox | None:
        """The network of a running container (for inspect, and for `--network container:NAME`)."""
        raise NotImplementedError

    async def readopt(self, running: Mapping[str, int]) -> None:
        """After a service restart: takes over the networks of `running` (container id → pid), frees those of all others."""
        raise NotImplementedError

    async def teardown(self) -> None:
        """Removes the engine's bridges and its nf_tables table, when nothing runs (else raises Conflict)."""
        raise NotImplementedError
