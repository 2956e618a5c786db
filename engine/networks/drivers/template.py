"""A configuration network: nothing is ever connected to it."""

from __future__ import annotations

from collections.abc import Sequence

from dosirak.engine.errors import Forbidden
from dosirak.engine.networks.drivers.base import Attachment, Driver, Request


class Template(Driver):
    """A network that others are made from."""

    async def connect(self, request: Request) -> Attachment:
        """Raises Forbidden."""
        raise Forbidden("cannot create endpoint on configuration-only network")

    def disconnect(self, attachment: Attachment) -> None:
        """Nothing was connected."""

    async def adopt(self, attachments: Sequence[Attachment]) -> None:
        """Nothing to take over."""

    async def down(self) -> None:
        """Nothing to give back."""
