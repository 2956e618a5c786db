"""The images of the store: found, made, named, removed. The room's door."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import msgspec

from dosirak.engine.content import Descriptor, Index, Platform, Store, media_types
from dosirak.engine.errors import Conflict, InvalidRequest, NotFound, NotSupported
from dosirak.engine.images import documents, filters, removal
from dosirak.engine.images.archives import load as loading
from dosirak.engine.images.archives import save as saving
from dosirak.engine.images.archives.members import Members
from dosirak.engine.images.config import ImageConfig, RootFS, RunConfig
from dosirak.engine.images.host import HostImage
from dosirak.engine.images.importing import import_config, import_root
from dosirak.engine.images.inventory import Inventory
from dosirak.engine.images.keeping import Keeping
from dosirak.engine.images.model import Image, Removed, Usage, entry
from dosirak.engine.images.reference import Reference, is_full_id, parse
from dosirak.engine.layers import LayerInfo, Layers
from dosirak.engine.layers.pack import Hidden
from dosirak.engine.layers.threads import in_thread
from dosirak.engine.state.events import Events
from dosirak.engine.state.filters import Filters
from dosirak.engine.state.pruning import Once


def _nobody(image: str) -> Sequence[Usage]:
    return ()


def _no_changes(config: RunConfig, changes: Sequence[str]) -> RunConfig:
    if changes:
        raise NotSupported("changes to an image need the builder, which this engine is without")
    return config


class Images(Inventory):
    """All images of an engine. Methods run on the event loop; blocking work goes to threads.

    The service sets `in_use` (image id → the containers made from it), `apply_changes` (Dockerfile instructions on a
    config: the builder's) and appends to `keepers`: functions that return digests (diff IDs, blobs) which must stay
    though no image names them: layers of containers whose image was force-removed, layers of the build cache.
    """

    in_use: Callable[[str], Sequence[Usage]]
    keepers: builtins.list[Callable[[], Iterable[str]]]
    apply_changes: Callable[[RunConfig, Sequence[str]], RunConfig]

    def __init__(self, store: Store, index: Index, layers: Layers, events: Events | None = None) -> None:
        super().__init__(store, index, layers)
        self.in_use = _nobody
        self.apply_changes = _no_changes
        self._events = events or Events()
        self._keeping = Keeping(self._catalog, store, layers)
        self.keepers = self._keeping.keepers
        self._host = HostImage(layers, self._catalog, self.commit, self.remove)
        self._lowers: dict[str, builtins.list[str]] = {}
        self._pruning = Once()

    async def start(self) -> None:
        """At the service's start, before anything else: sweeps what a killed service left, reads what there is.

        `keepers` must be there. Raises HostLimit when index.json is damaged.
        """
        await in_thread(self._store.sweep)
        self._layers.sweep()
        await in_thread(self._catalog.view)
        await self.collect()

    async def resolve(self, name: str) -> Image:
        """The image of this name ("ubuntu", "repo:tag", "repo@sha256:…"), id or beginning of an id.

        Raises NotFound "No such image: ubuntu:latest"; InvalidRequest for an ambiguous or malformed one.
        """
        if self._host.is_meant(name):
            return await self._host.ensure()
        return self._catalog.image(name)

    def list(self, wanted: Filters | None = None, *, all: bool = True) -> builtins.list[Image]:
        """All images, the newest first; filters: dangling, label, before, since, until, reference.

        Without `all`, those that nobody names and others were committed from are left out. Raises InvalidRequest,
        NotFound (for an image a filter names).
        """
        there = self._catalog.view().images.values()
        hidden = set() if all else filters.parents(there)
        return filters.select((one for one in there if one.id not in hidden), wanted or {}, self._catalog.image)

    async def commit(
        self, config: ImageConfig, layers: Sequence[LayerInfo], names: Sequence[str] = (), *, parent: str = ""
    ) -> Image:
        """Makes an image of a config and its layers, the lowest first, and names it; `parent`: see `Image`.

        `config.rootfs` is set from the layers. Raises InvalidRequest, HostLimit; NotFound when a layer is gone.
        """
        if len(layers) > documents.MAX_LAYERS:
            raise InvalidRequest("max depth exceeded")
        tags = [_tag(name) for name in names]
        rootfs = RootFS(diff_ids=[layer.diff_id for layer in layers])
        document = documents.write(msgspec.structs.replace(config, rootfs=rootfs))
        async with self._keeping.changing:
            id, manifest = await in_thread(self._put, document, layers)
            made = entry(manifest, parent)
            await in_thread(self._index.update, {str(tag): made for tag in tags}, [made])
        for tag in tags:
            self._publish("tag", id, tag.familiar)
        return self._catalog.view().images[id]

    def _put(self, config: bytes, layers: Sequence[LayerInfo]) -> tuple[str, Descriptor]:
        for layer in layers:
            if not self._store.has(layer.descriptor.digest):
                raise NotFound(f"layer {layer.diff_id} is gone: was the image it comes from removed meanwhile?")
        config_blob = self._store.put(config, media_types.CONFIG)
        manifest = documents.Manifest(config=config_blob, layers=[layer.descriptor for layer in layers])
        return config_blob.digest, self._store.put(documents.write(manifest), media_types.MANIFEST)

    async def layer_infos(self, image: Image) -> builtins.list[LayerInfo]:
        """The image's layers as `commit` takes them, the lowest first, for an image that builds on it."""
        await self.lower_dirs(image)
        return [LayerInfo(diff_id, blob, self._layers.size(diff_id)) for diff_id, blob in image.pairs]

    @asynccontextmanager
    async def layer_of(self, upper: Path, hidden: Hidden) -> AsyncIterator[LayerInfo]:
        """Inside, what an overlay upper directory has (but for what is `hidden`) is a layer in the store, for `commit`.

        The directory stays as it is. If the block fails, the layer goes. Raises HostLimit, OSError.
        """
        async with self._keeping.making(set()) as made:
            yield await self._layers.pack(upper, hidden, made)

    @asynccontextmanager
    async def receive(self, digests: set[str]) -> AsyncIterator[set[str]]:
        """Inside, blobs and layers of these digests (more may be added) may be stored, to be recorded; if it fails,
        they go again.
        """
        async with self._keeping.making(digests) as made:
            yield made

    async def record(self, names: Mapping[str, Descriptor], reference: Reference, action: str = "pull") -> None:
        """Names (full references) what a registry has too; the event `action` is about the image `reference`."""
        async with self._keeping.changing:
            await in_thread(self._index.update, names)
        image = self._catalog.image(str(reference))
        labels = image.config.config.labels or {}
        self._events.publish("image", action, reference.familiar, {**labels, "name": reference.familiar_name})

    async def repack(self, image: Image, manifest: Descriptor) -> None:
        """Another manifest stands for the image, with the same config and layers that are packed differently.

        Raises NotFound when the image was removed meanwhile.
        """
        async with self._keeping.changing:
            names = self._catalog.image(image.id).names
            before = self._catalog.view().entries[image.id]
            packed = entry(manifest, image.parent)
            await in_thread(self._index.update, dict.fromkeys(names, packed), [] if names else [packed])
            await in_thread(self._index.drop, before - {manifest.digest})

    def hold_image(self, image: Image) -> AbstractContextManager[None]:
        """Inside, all that the image needs stays, whatever is removed."""
        return self.hold(self._catalog.view().blobs[image.id])

    async def tag(self, source: str, name: str) -> None:
        """Gives an image another name. Raises NotFound, InvalidRequest."""
        tag = _tag(name)
        image = await self.resolve(source)
        async with self._keeping.changing:
            await in_thread(self._index.set, str(tag), image.entry)
        self._publish("tag", image.id, tag.familiar)

    async def remove(self, name: str, *, force: bool = False, prune: bool = True) -> builtins.list[Removed]:
        """Removes a name, and with its last one the image and those of its layers that nothing else needs.

        With `prune` also what it was committed from, if nothing needs that any more. Raises NotFound, Conflict in
        Docker's words.
        """
        async with self._keeping.changing:
            image = self._catalog.image(name)
            family = bool(self._children(image.id))
            plan = removal.plan(image, name, self.in_use(image.id), force=force, children=family)
            removed = await self._carry_out(image, plan)
            while prune and plan.delete and (parent := self._unneeded(image.parent)) is not None:
                image, plan = parent, removal.Plan((), delete=True)
                removed += await self._carry_out(image, plan)
        return removed

    def _children(self, id: str) -> builtins.list[Image]:
        return [image for image in self._catalog.view().images.values() if image.parent == id]

    def _unneeded(self, id: str) -> Image | None:
        """The image of this id, if it is there and neither named nor used nor has children."""
        image = self._catalog.view().images.get(id)
        if image is None or image.names or self.in_use(id) or self._children(id):
            return None
        return image

    async def _carry_out(self, image: Image, plan: removal.Plan) -> builtins.list[Removed]:
        """What a plan says. With `changing` held."""
        gone: set[str] = set()
        if plan.delete:
            view = self._catalog.view()
            await in_thread(self._index.drop, view.entries[image.id])
            gone = await self._keeping.discard(view.blobs[image.id])
            self._lowers.clear()
        else:
            await in_thread(self._index.remove, plan.untag)
        removed = [Removed(untagged=parse(tag).familiar) for tag in plan.untag]
        for _ in plan.untag:
            self._publish("untag", image.id, image.id)
        if plan.delete:
            self._publish("delete", image.id, image.id)
            removed.append(Removed(deleted=image.id))
            chain = [*zip(image.diff_ids, removal.chain_ids(image.diff_ids), strict=True)]
            removed += [Removed(deleted=chain_id) for diff_id, chain_id in reversed(chain) if diff_id in gone]
        return removed

    async def prune(self, wanted: Filters) -> tuple[builtins.list[Removed], int]:
        """Removes what nobody uses, as `filters.prunable` chooses. Returns what went, and the bytes of its layers.

        Raises InvalidRequest, Conflict when it is under way already.
        """
        with self._pruning.running():
            images = self.list()
            sizes = {diff_id: self._layer_size(diff_id, blob) for image in images for diff_id, blob in image.pairs}
            removed: builtins.list[Removed] = []
            for name in filters.prunable(images, wanted, self.in_use):
                with suppress(Conflict, NotFound):  # a container was made from it meanwhile, or somebody removed it
                    removed += await self.remove(name)
            left = {diff_id for image in self.list() for diff_id in image.diff_ids}
            left.update(digest for keeper in self.keepers for digest in keeper())
            reclaimed = sum(size for diff_id, size in sizes.items() if diff_id not in left)
        self._events.publish("image", "prune", "", {"reclaimed": str(reclaimed)})
        return removed, reclaimed

    async def load(self, stream: AsyncIterable[bytes], platform: Platform | None = None) -> AsyncIterator[str]:
        """Loads a docker or OCI archive (plain, gzip, zstd…): all its images, or none; or only those for a platform.

        Yields Docker's lines ("Loaded image: busybox:latest\n"). Raises InvalidRequest (CorruptArchive), HostLimit.
        """
        for line in await self._load(stream, platform):
            yield line

    async def _load(self, stream: AsyncIterable[bytes], platform: Platform | None) -> builtins.list[str]:
        members = Members(self._store)
        try:
            incoming = await loading.read(stream, members, platform)
            async with self._keeping.making(loading.digests(incoming)) as made:
                await loading.unpack(incoming, self._layers)
                async with self._keeping.changing:
                    loaded = await in_thread(loading.publish, incoming, self._store, made)
                    before = self._catalog.view().names
                    await in_thread(self._index.update, loading.names(loaded), [one.manifest for one in loaded])
        finally:
            await in_thread(members.close)
        for one in loaded:
            self._publish("load", one.id, one.id)
        return [*loading.report(loaded, before)]

    async def import_(
        self,
        stream: AsyncIterable[bytes],
        name: str = "",
        changes: Sequence[str] = (),
        message: str = "",
        platform: Platform | None = None,
    ) -> Image:
        """Makes an image of a root filesystem's tar (compressed or not).

        Parameters: `changes` are Dockerfile instructions ("CMD sh"), `message` is the history's comment,
        `platform` what it is made for, this machine by default. Raises InvalidRequest (CorruptArchive), HostLimit.
        """
        names = [str(_tag(name))] if name else []
        config = self.apply_changes(RunConfig(), changes)
        async with self._keeping.making(set()) as made:
            layer = await import_root(stream, self._store, self._layers, made)
            image = await self.commit(import_config(config, message, platform), [layer], names)
        self._publish("import", image.id, image.id)
        return image

    async def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        """One archive of these images, as docker and OCI both read it. A name without a tag means all its tags.

        Raises NotFound, InvalidRequest.
        """
        images: dict[str, Image] = {}
        for image in [image for name in names for image in await self._chosen(name)]:
            known = images.get(image.id)
            images[image.id] = image.with_names(dict.fromkeys((*known.names, *image.names))) if known else image
        with self.hold(digest for id in images for digest in self._catalog.view().blobs[id]):
            pieces = saving.archive([*images.values()], self._store)
            while (piece := await in_thread(next, pieces, None)) is not None:
                yield piece

    async def _chosen(self, name: str) -> builtins.list[Image]:
        """The images to save for a name, each with those of its names to save it under."""
        if not is_full_id(name):
            wanted = parse(name)
            if wanted.tag or wanted.digest:
                image = await self.resolve(name)
                return [image.with_names(tag for tag in image.names if tag == str(wanted))]
            if self._host.is_meant(name):
                await self.resolve(name)
            named = [
                image.with_names(tag for tag in image.names if parse(tag).name == wanted.name) for image in self.list()
            ]
            if found := [image for image in named if image.names]:
                return found
        return [(await self.resolve(name)).with_names(())]

    async def lower_dirs(self, image: Image) -> builtins.list[str]:
        """The overlay lower directories, the topmost first; layers not unpacked yet are unpacked now.

        Raises NotFound, CorruptArchive, HostLimit.
        """
        known = self._lowers.get(image.id)
        if known is None:
            if not all(self._layers.has(diff_id) for diff_id in image.diff_ids):
                await asyncio.gather(*(self._layers.ensure(diff_id, blob) for diff_id, blob in image.pairs))
                self._catalog.refresh()
            known = self._lowers[image.id] = [str(self._layers.path(diff_id)) for diff_id in reversed(image.diff_ids)]
        return [*known]

    @contextmanager
    def hold(self, digests: Iterable[str]) -> Iterator[None]:
        """Inside, these digests (diff IDs, blobs) stay, whatever is removed: for work that stands on an image."""
        with self._keeping.hold(set(digests)):
            yield

    async def discard(self, digests: Iterable[str]) -> None:
        """Deletes those of these blobs and layers that nothing needs any more."""
        async with self._keeping.changing:
            await self._keeping.discard(digests)

    async def collect(self) -> builtins.list[str]:
        """Deletes all blobs and layers that nothing needs; returns their digests. Not while a build runs, whose layers
        nobody names yet.
        """
        return await self._keeping.collect()

    def _publish(self, action: str, id: str, name: str) -> None:
        image = self._catalog.view().images.get(id)
        labels = (image.config.config.labels if image else None) or {}
        self._events.publish("image", action, id, {**labels, "name": name})


def _tag(name: str) -> Reference:
    """A name to give: with a tag, "latest" by default. Raises InvalidRequest."""
    tag = parse(name)
    if tag.digest:
        raise InvalidRequest("refusing to create a tag with a digest reference")
    if tag.familiar_name == "sha256":
        raise InvalidRequest("refusing to create an ambiguous tag using digest algorithm as name")
    return tag.tagged()
