"""What every network driver does, and who calls it when."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec

from dosirak.engine.errors import EngineError
from dosirak.engine.networks.model import BoundPort, Network, PortBinding
from dosirak.engine.networks.namespaces import INTERFACE, Prepared

_LOG = logging.getLogger(__name__)


class Request(msgspec.Struct, frozen=True):
    """One container that wants to be connected, "" being any MAC and any address.

    `namespace`: a descriptor of the one it has already, if it has, which then gets one more `interface`.
    """

    mac: str = ""
    ip: str = ""
    ip6: str = ""
    namespace: int | None = None
    interface: str = INTERFACE


class Attachment(msgspec.Struct, frozen=True):
    """A container that is connected; `prepared` is None where the host's own namespace is used.

    `gateway` is "" where this network is no way out.
    """

    prepared: Prepared | None
    gateway: str = ""
    ports: tuple[BoundPort, ...] = ()
    gateway6: str = ""


class Driver(ABC):
    """One network."""

    def __init__(self, network: Network) -> None:
        self.network = network

    @property
    def in_use(self) -> bool:
        """Whether a container is connected, or is being connected."""
        return False

    @abstractmethod
    async def connect(self, request: Request) -> Attachment:
        """A namespace connected to this network. Called by `Networks.join`; undone whole when it fails."""

    @abstractmethod
    def disconnect(self, attachment: Attachment) -> None:
        """Undoes `connect` and `publish`, the slow parts in the background. Called by `Networks.disconnect`."""

    async def leave(self, attachment: Attachment) -> None:
        """As `disconnect`, for a container that runs on; its interface is gone when this returns."""
        self.disconnect(attachment)

    async def publish(self, attachment: Attachment, ports: Sequence[PortBinding], where: str) -> Attachment:
        """Opens published ports; `where` names the endpoint in messages. Without effect where they mean nothing."""
        return attachment

    def unpublish(self, attachment: Attachment) -> Attachment:
        """Closes them, in the background, but before anything asked for later."""
        return attachment

    @abstractmethod
    async def adopt(self, attachments: Sequence[Attachment]) -> None:
        """Takes over what a predecessor connected, removes what it left otherwise. Called by `take_over`."""

    async def take_over(self, attachments: Sequence[Attachment]) -> None:
        """`adopt`, as far as it can be done. Called by `Networks.readopt`."""
        try:
            await self.adopt(attachments)
        except (EngineError, OSError) as error:
            # Its containers run on as they are; a service that didn't start could do less for them.
            _LOG.warning("network %s: can't be taken over: %s", self.network.name, error)

    @abstractmethod
    async def down(self) -> None:
        """Gives back what is kept ready, and the network's own links and rules if no container is connected.

        Called by `Networks.teardown` and `Networks.close`; the next `connect` makes it all again.
        """
