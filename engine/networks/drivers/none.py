"""The network `none` (driver `null`): a namespace with a loopback and nothing else."""

from __future__ import annotations

import os
from asyncio import Future
from collections.abc import Sequence

from dosirak.engine.networks.drivers.base import Attachment, Driver, Request
from dosirak.engine.networks.model import Network
from dosirak.engine.networks.namespaces import Prepared
from dosirak.engine.networks.pool import Pool
from dosirak.engine.networks.worker import Kernel, Worker

_READY = 2


class Null(Driver):
    """Bare namespaces, two of them made ahead once the first was asked for."""

    def __init__(self, network: Network, worker: Worker) -> None:
        super().__init__(network)
        self._worker = worker
        self._pool: Pool | None = None

    async def connect(self, request: Request) -> Attachment:
        """A namespace of its own; published ports mean nothing here."""
        if request.namespace is not None:
            return Attachment(Prepared(os.dup(request.namespace)))
        if self._pool is None:
            self._pool = Pool(self._make, _READY)
        return Attachment(await self._pool.take())

    def disconnect(self, attachment: Attachment) -> None:
        """Lets go of the namespace; the kernel takes it away when its last process has ended."""
        if attachment.prepared:
            os.close(attachment.prepared.fd)

    async def adopt(self, attachments: Sequence[Attachment]) -> None:
        """Nothing but the descriptors to take over."""

    async def down(self) -> None:
        """Lets go of the namespaces kept ready."""
        pool, self._pool = self._pool, None
        for prepared in await pool.drain() if pool else ():
            os.close(prepared.fd)

    def _make(self) -> Future[Prepared]:
        return self._worker.submit(_bare)


def _bare(kernel: Kernel) -> Prepared:
    return kernel.namespaces.bare()
