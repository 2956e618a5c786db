"""The network `host`: the container stays in the engine's own network namespace."""

from __future__ import annotations

from collections.abc import Sequence

from dosirak.engine.networks.drivers.base import Attachment, Driver, Request


class Host(Driver):
    """Nothing to make; published ports mean nothing here, and are left out as Docker does."""

    async def connect(self, request: Request) -> Attachment:
        """No namespace."""
        return Attachment(None)

    def disconnect(self, attachment: Attachment) -> None:
        """Nothing to undo."""

    async def adopt(self, attachments: Sequence[Attachment]) -> None:
        """Nothing to take over."""

    async def down(self) -> None:
        """Nothing to give back."""
