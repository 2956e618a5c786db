"""The room's door: images from and to registries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dosirak.engine.content import Descriptor, Platform, Store
from dosirak.engine.errors import EngineError, Forbidden
from dosirak.engine.images import Reference
from dosirak.engine.layers import Layers
from dosirak.engine.layers.threads import in_thread
from dosirak.engine.registry import errors, hosts
from dosirak.engine.registry import pull as pulling
from dosirak.engine.registry.client import Client
from dosirak.engine.registry.credentials import Credentials
from dosirak.engine.registry.model import Message, Tell
from dosirak.engine.registry.transfers import Transfers
from dosirak.engine.registry.transport import Transport

if TYPE_CHECKING:
    from dosirak.engine.images import Images

_NOBODY = Credentials()


class Registry:
    """Pulls and pushes. Methods run on the event loop; a cancelled one leaves nothing half-made."""

    def __init__(self, data: Path, images: Images, store: Store, layers: Layers) -> None:
        self._data = data
        self._images = images
        self._store = store
        self._transport = Transport()
        self._transfers = Transfers(store, layers)

    async def close(self) -> None:
        """Ends the connections."""
        await self._transport.close()

    async def pull(
        self, reference: Reference, tell: Tell, *, platform: Platform | None = None, credentials: Credentials = _NOBODY
    ) -> None:
        """Pulls the image a tag or digest stands for ("latest" if neither is given), and names it so.

        Parameters: `platform`: this machine's by default. Raises NotFound, InvalidRequest, HostLimit, RegistryError,
        Unreachable, Unauthorized; in Docker's words.
        """
        wanted = reference.tagged()
        if wanted.domain == hosts.HUB and wanted.path == "library/scratch":
            raise Forbidden("'scratch' is a reserved name")
        client, found = await self._find(wanted, platform, credentials)
        tell(Message(f"Pulling from {wanted.path}", wanted.digest or wanted.tag))
        before = self._images.id_of(str(wanted))
        async with self._images.receive(found.digests):
            await pulling.fetch(found, client, self._images, self._transfers, tell)
            for blob, data in found.bodies:
                await in_thread(self._store.put, data, blob.media_type)
            await self._images.record(self._names(wanted, found), wanted)
        tell(Message(f"Digest: {found.top.digest}"))
        if platform and (warning := pulling.platform_warning(found, platform, wanted.familiar)):
            tell(warning)
        same = before == found.document.config.digest
        tell((pulling.up_to_date if same else pulling.newer)(wanted.familiar))

    @staticmethod
    def _names(wanted: Reference, found: pulling.Found) -> dict[str, Descriptor]:
        """A pulled tag is known by its digest too (Docker's RepoDigests)."""
        by_digest = replace(wanted, tag="", digest=found.top.digest)
        names = [by_digest] if wanted.digest else [wanted, by_digest]
        return {str(name): found.entry for name in names}

    async def _find(
        self, wanted: Reference, platform: Platform | None, credentials: Credentials
    ) -> tuple[Client, pulling.Found]:
        """Where the image is: mirrors that lack it or don't answer are passed over."""
        known = await in_thread(hosts.read, self._data)
        *mirrors, last = hosts.endpoints(wanted.domain, known)
        for mirror in mirrors:
            client = Client(self._transport, mirror, wanted.path, _NOBODY)
            try:
                await client.connect()
                return client, await pulling.find(client, wanted, platform)
            except EngineError:
                continue
        client = Client(self._transport, last, wanted.path, credentials)
        try:
            await client.connect()
            return client, await pulling.find(client, wanted, platform)
        except errors.RegistryError as error:
            raise errors.of_pull(error, wanted) from error
