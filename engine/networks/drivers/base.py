"""What every network driver does, and who calls it when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec

from dosirak.engine.networks.model import BoundPort, Network, PortBinding
from dosirak.engine.networks.namespaces import Prepared


class Request(msgspec.Struct, frozen=True):
    """One container that wants to be connected; `endpoint_id` and `name` stand in error messages."""

    endpoint_id: str
    name: str
    ports: Sequence[PortBinding] = ()
    mac: str | None = None
    ip: str | None = None


class Attachment(msgspec.Struct, frozen=True):
    """A container that is connected; `prepared` is None where the host's own namespace is used."""

    prepared: Prepared | None
    gateway: str = ""
    ports: tuple[BoundPort, ...] = ()


class Driver(ABC):
    """One network."""

    def __init__(self, network: Network) -> None:
        self.network = network

    @abstractmethod
    async def connect(self, request: Request) -> Attachment:
        """A namespace connected to this network. Called by `Networks.connect`; undone whole when it fails."""

    @abstractmethod
    def disconnect(self, attachment: Attachment) -> None:
        """Undoes `connect`, the slow parts in the background. Called by `Networks.disconnect`."""

    @abstractmethod
    async def adopt(self, attachments: Sequence[Attachment]) -> None:
        """Takes over what a predecessor connected, removes what it left otherwise. Called by `Networks.readopt`."""

    @abstractmethod
    async def down(self) -> None:
        """Gives back what is kept ready, and the network's own links and rules if no container is connected.

        Called by `Networks.teardown` and `Networks.close`; the next `connect` makes it all again.
        """
