"""The room's door: images from and to registries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dosirak.engine.content import Descriptor, Platform, Store
from dosirak.engine.errors import EngineError, Forbidden, NotFound
from dosirak.engine.images import Reference, documents
from dosirak.engine.layers import Layers
from dosirak.engine.layers.threads import in_thread
from dosirak.engine.registry import configuration, errors, hosts, packing, searching
from dosirak.engine.registry import pull as pulling
from dosirak.engine.registry import push as pushing
from dosirak.engine.registry.certificates import DIRECTORIES, Certificates
from dosirak.engine.registry.client import Client
from dosirak.engine.registry.connection import Connection
from dosirak.engine.registry.credentials import Credentials, domain_of
from dosirak.engine.registry.download import Download, download
from dosirak.engine.registry.model import Message, Pushed, Tell
from dosirak.engine.registry.retries import TRIES
from dosirak.engine.registry.serving import Serving
from dosirak.engine.registry.transfers import Transfers
from dosirak.engine.registry.transport import Transport

if TYPE_CHECKING:
    from dosirak.engine.images import Image, Images

Result = TypeVar("Result")

_NOBODY = Credentials()


class Registry:
    """Pulls and pushes; `serving` is the other side. On the event loop; a cancelled method leaves nothing half-made."""

    def __init__(self, data: Path, images: Images, store: Store, layers: Layers) -> None:
        self._data = data
        self._images = images
        self._store = store
        self._transport = Transport(Certificates((*DIRECTORIES, data / "certs.d")))
        self._transfers = Transfers(store, layers)
        self.serving = Serving(images, store)

    async def close(self) -> None:
        """Ends what is served, and the connections."""
        await self.serving.close()
        await self._transport.close()

    def download(self, url: str) -> AbstractAsyncContextManager[Download]:
        """Inside, the file of a URL can be read as it comes. Raises as `download.download`."""
        return download(self._transport, url)

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
        sources, found = await self._first(wanted, credentials, lambda sources: pulling.find(sources, wanted, platform))
        tell(Message(f"Pulling from {wanted.path}", wanted.digest or wanted.tag))
        before = self._images.id_of(str(wanted))
        async with self._images.receive(found.digests):
            await pulling.fetch(found, sources, self._images, self._transfers, tell)
            for blob, data in found.bodies:
                await in_thread(self._store.put, data, blob.media_type)
            await self._images.record(self._names(wanted, found), wanted)
        tell(Message(f"Digest: {found.top.digest}"))
        if platform and (warning := pulling.platform_warning(found, platform, wanted.familiar)):
            tell(warning)
        same = before == found.document.config.digest
        tell((pulling.up_to_date if same else pulling.newer)(wanted.familiar))

    async def pull_all(
        self, reference: Reference, tell: Tell, *, platform: Platform | None = None, credentials: Credentials = _NOBODY
    ) -> None:
        """Pulls every tag of a repository, one after the other. Raises as `pull`."""
        _, tags = await self._first(reference, credentials, lambda sources: sources[0].tags())
        for tag in tags:
            await self.pull(replace(reference, tag=tag), tell, platform=platform, credentials=credentials)

    @staticmethod
    def _names(wanted: Reference, found: pulling.Found) -> dict[str, Descriptor]:
        """A pulled tag is known by its digest too (Docker's RepoDigests)."""
        by_digest = replace(wanted, tag="", digest=found.top.digest)
        names = [by_digest] if wanted.digest else [wanted, by_digest]
        return {str(name): found.entry for name in names}

    async def push(self, reference: Reference, tell: Tell, *, credentials: Credentials = _NOBODY) -> None:
        """Pushes the image a tag stands for; without a tag, every tag of the repository.

        Raises NotFound, HostLimit, RegistryError, Unreachable, Unauthorized.
        """
        names = self._images.tags_of(reference.name)
        tags = [name for name in names if not reference.tag or name.tag == reference.tag]
        if not tags:
            raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_name}")
        known = await in_thread(configuration.read, self._data)
        place = hosts.registry(reference.domain, reference.path, known)
        client = Client(self._transport, place.endpoint, place.repository, credentials, "pull,push")
        tell(Message(f"The push refers to repository [{reference.name}]"))
        for tag in tags:
            image = await self._images.resolve(str(tag))
            needed = self._images.needs(image.id)
            with self._images.hold_image(image):
                pushed = await self._push(image, tag, client, tell)
            if pushed.digest != image.manifest.digest:
                # Held until now: what only the former manifest needs, and itself.
                await self._images.discard(needed)
            tell(Message(f"{pushed.tag}: digest: {pushed.digest} size: {pushed.size}"))
            tell(Message("", pushed=pushed))

    async def _push(self, image: Image, tag: Reference, client: Client, tell: Tell) -> Pushed:
        """Pushes one image. One that was made here gets its layers compressed, and is so from then on."""
        async with self._images.receive(set()) as made:
            plain = packing.wanted(image)
            known = self._images.compressed_layers() if plain else {}

            async def packed(blob: Descriptor, diff_id: str) -> Descriptor:
                return await packing.packed(blob, diff_id, known, self._store, made) if plain else blob

            def elsewhere(digest: str) -> list[str]:
                return self._elsewhere(tag, digest)

            blobs = await pushing.layers(image, client, self._store, packed, elsewhere, tell)
            if blobs != [*image.layers]:
                data = await in_thread(self._store.read, image.manifest.digest, documents.MAX_MANIFEST)
                manifest, data = packing.manifest(image, blobs, data)
                made.add(manifest.digest)
                await in_thread(self._store.put, data, manifest.media_type)
                await self._images.repack(image, manifest)
                image = replace(image, manifest=manifest)
            pushed = await pushing.manifest(image, tag.tag, client, self._store, tell)
            by_digest = replace(tag, tag="", digest=image.manifest.digest)
            await self._images.record({str(by_digest): image.entry}, tag, action="push")
        return pushed

    def _elsewhere(self, reference: Reference, digest: str) -> list[str]:
        """Repositories of the same registry that are known here to have this blob."""
        names = self._images.names_with(digest)
        found = {name.path for name in names if name.domain == reference.domain and name.path != reference.path}
        return sorted(found)

    async def look(self, reference: Reference, credentials: Credentials) -> tuple[Descriptor, list[Platform]]:
        """What a registry has under a name: its descriptor, and the platforms it was made for.

        Raises as `pull`.
        """
        wanted = reference.tagged()
        return (await self._first(wanted, credentials, lambda sources: pulling.look(sources[0], wanted)))[1]

    async def manifest(self, reference: Reference, credentials: Credentials) -> tuple[Descriptor, bytes]:
        """What a registry has under a name, as it is: a manifest or an index, and its bytes. Raises as `pull`."""
        wanted = reference.tagged()
        which = wanted.digest or wanted.tag
        return (await self._first(wanted, credentials, lambda sources: sources[0].manifest(which)))[1]

    async def search(
        self, term: str, limit: int, filters: Mapping[str, Sequence[str]], credentials: Credentials
    ) -> list[searching.Hit]:
        """Repositories whose names have to do with a term ("ubuntu", "localhost:5000/tools").

        Mirrors are asked when the registry itself does not answer. Raises InvalidRequest, RegistryError, Unreachable,
        Unauthorized.
        """
        domain, text = searching.split(term)
        count = searching.limit_of(limit)
        searching.chosen((), filters)
        known = await in_thread(configuration.read, self._data)
        *mirrors, registry = [place.endpoint for place in hosts.places(domain, "", known)]
        if registry.host == hosts.HUB_SERVER:
            registry = replace(registry, host=searching.HUB_SEARCH)
        failure: EngineError | None = None
        for endpoint in (registry, *mirrors):
            try:
                hits = await searching.search(self._transport, endpoint, credentials, domain, text, count)
                return searching.chosen(hits, filters)
            except EngineError as error:
                failure = failure or error
        assert failure is not None
        raise failure

    async def login(self, credentials: Credentials) -> str:
        """Asks the registry of `server_address` (the Hub by default) whether it takes these credentials.

        Returns the token that stands for them from now on, "" if that registry has none.
        Raises Unauthorized, Unreachable, RegistryError.
        """
        known = await in_thread(configuration.read, self._data)
        endpoint = hosts.registry(domain_of(credentials.server_address), "", known).endpoint
        return await Connection(self._transport, endpoint, credentials).login()

    async def _first(
        self, wanted: Reference, credentials: Credentials, ask: Callable[[list[Client]], Awaitable[Result]]
    ) -> tuple[list[Client], Result]:
        """What the first server answers that has an answer, and that server with those that may be asked after it.

        Mirrors that lack it or don't answer are passed over. Raises what the registry itself makes `ask` raise.
        """
        known = await in_thread(configuration.read, self._data)
        places = hosts.places(wanted.domain, wanted.path, known, digest=bool(wanted.digest))
        # Where another server can be asked, nobody waits for the first to come to its senses.
        patience = [*(1 for _ in places[1:]), TRIES]
        sources = [
            Client(self._transport, place.endpoint, place.repository, credentials, tries=tries)
            for place, tries in zip(places, patience, strict=True)
        ]
        for index, _ in enumerate(sources[:-1]):
            with suppress(EngineError):
                return sources[index:], await ask(sources[index:])
        try:
            return sources[-1:], await ask(sources[-1:])
        except errors.RegistryError as error:
            raise errors.of_pull(error, wanted) from error
