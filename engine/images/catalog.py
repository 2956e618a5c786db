"""What images there are: `index.json` and the documents it leads to, read once and kept in memory."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from dosirak.engine.content import Descriptor, Index, Store, media_types
from dosirak.engine.content.index import Stamp, name_of
from dosirak.engine.errors import EngineError, InvalidRequest, NotFound
from dosirak.engine.images import documents, platforms, reference
from dosirak.engine.images.config import ImageConfig
from dosirak.engine.images.model import PARENT, Image
from dosirak.engine.layers import Layers

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Parsed:
    """What an entry of the index leads to. `blobs`: every digest on the way, the entry's own too."""

    manifest: Descriptor
    id: str
    config: ImageConfig
    layers: tuple[Descriptor, ...]
    blobs: frozenset[str]


@dataclass(slots=True)
class View:
    """The images at one moment.

    `entries`: the digests in `index.json` that lead to an image. `blobs`: all digests that an image needs, diff IDs
    included. `whole`: every entry could be read; else there are more images than this.
    """

    images: dict[str, Image] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    entries: dict[str, set[str]] = field(default_factory=dict)
    blobs: dict[str, frozenset[str]] = field(default_factory=dict)
    whole: bool = True

    def find(self, text: str) -> Image | None:
        """The image of a name, an id or the unambiguous beginning of one.

        Raises InvalidRequest for a malformed name or an ambiguous id.
        """
        if not reference.is_full_id(text):
            wanted = reference.parse(text).tagged()
            found = self.names.get(str(wanted)) or (self._by_digest(wanted) if wanted.digest else None)
            if found is not None:
                return self.images[found]
        digits = reference.parse_id(text)
        if digits is None:
            return None
        if exact := self.images.get(f"sha256:{digits}"):
            return exact
        matching = [image for id, image in self.images.items() if id.startswith(digits, 7)]
        if len(matching) > 1:
            raise InvalidRequest(f"Multiple IDs found with provided prefix: {digits}")
        return matching[0] if matching else None

    def _by_digest(self, wanted: reference.Reference) -> str | None:
        """repo@sha256:…: an image of that repository whose manifest it is."""
        for id, image in self.images.items():
            if wanted.digest in self.entries[id] or wanted.digest == image.manifest.digest:
                for name in image.names:
                    if reference.parse(name).name == wanted.name:
                        return id
        return None

    def needed(self) -> Iterator[str]:
        """Every digest that some image needs."""
        for blobs in self.blobs.values():
            yield from blobs


class Catalog:
    """Keeps a `View` as long as `index.json` says the same. What it can't read is logged and left out."""

    def __init__(self, store: Store, index: Index, layers: Layers) -> None:
        self._store = store
        self._index = index
        self._layers = layers
        self._parsed: dict[str, _Parsed | None] = {}
        self._stamp: Stamp | None = None
        self._view: View | None = None

    def view(self) -> View:
        """The images now. Reads only what is new. Raises HostLimit when index.json is damaged."""
        stamp, entries = self._index.entries()
        if self._view is None or stamp != self._stamp:
            self._view = self._build(entries)
            self._stamp = stamp
        return self._view

    def refresh(self) -> None:
        """A layer was unpacked: sizes may be known better now."""
        self._view = None

    def image(self, text: str) -> Image:
        """As `View.find`. Raises NotFound in Docker's words."""
        found = self.view().find(text)
        if found is None:
            shown = text if reference.is_full_id(text) else reference.parse(text).tagged().familiar
            raise NotFound(f"No such image: {shown}")
        return found

    def _build(self, entries: Iterable[Descriptor]) -> View:
        view = View()
        before, self._parsed = self._parsed, {}
        named: dict[str, list[str]] = {}
        parents: dict[str, str] = {}
        for entry in entries:
            if entry.digest not in self._parsed:
                self._parsed[entry.digest] = before.get(entry.digest) or self._parse(entry)
            parsed = self._parsed[entry.digest]
            if parsed is None:
                view.whole = False
                continue
            view.entries.setdefault(parsed.id, set()).add(entry.digest)
            view.blobs[parsed.id] = view.blobs.get(parsed.id, frozenset()) | parsed.blobs
            if parsed.id not in view.images:
                view.images[parsed.id] = self._image(parsed)
            if parent := (entry.annotations or {}).get(PARENT):
                parents[parsed.id] = parent
            if name := _full_name(entry):
                view.names[name] = parsed.id
                named.setdefault(parsed.id, []).append(name)
        for id, parent in parents.items():
            view.images[id] = replace(view.images[id], parent=parent)
        for id, names in named.items():
            view.images[id] = replace(view.images[id], names=tuple(sorted(names)))
        return view

    def _image(self, parsed: _Parsed) -> Image:
        pairs = zip(parsed.config.rootfs.diff_ids, parsed.layers, strict=True)
        return Image(
            id=parsed.id,
            manifest=parsed.manifest,
            config=parsed.config,
            layers=parsed.layers,
            names=(),
            created=parsed.config.created or "",
            size=sum(self._layers.size(diff_id) if self._layers.has(diff_id) else blob.size for diff_id, blob in pairs),
        )

    def _parse(self, entry: Descriptor) -> _Parsed | None:
        try:
            return self._follow(entry)
        except EngineError as error:
            log.warning("image %s is left out: %s", name_of(entry) or entry.digest, error)
            return None

    def _follow(self, entry: Descriptor) -> _Parsed:
        document = documents.read_manifest(self._store.read(entry.digest, documents.MAX_MANIFEST))
        if isinstance(document, documents.Manifest):
            return self._parse_image(entry, document, {entry.digest})
        there = [one for one in document.manifests if self._store.has(one.digest)]
        chosen = platforms.choose(there)
        if chosen is None:
            raise NotFound(f"no image for {platforms.host()} in the index")
        blobs = {entry.digest}
        manifests: dict[str, documents.Manifest] = {}
        for one in there:
            found = documents.read_manifest(self._store.read(one.digest, documents.MAX_MANIFEST))
            if isinstance(found, documents.ImageIndex):
                raise InvalidRequest("invalid image index: nested too deep")
            manifests[one.digest] = found
            blobs |= {one.digest, found.config.digest, *(layer.digest for layer in found.layers)}
        return self._parse_image(chosen, manifests[chosen.digest], blobs)

    def _parse_image(self, entry: Descriptor, manifest: documents.Manifest, blobs: set[str]) -> _Parsed:
        config = documents.read_config(self._store.read(manifest.config.digest, documents.MAX_CONFIG))
        documents.check_pair(manifest, config)
        layers = {layer.digest for layer in manifest.layers}
        needed = blobs | {manifest.config.digest} | layers | set(config.rootfs.diff_ids)
        bare = Descriptor(entry.media_type or media_types.MANIFEST, entry.digest, entry.size)
        return _Parsed(bare, manifest.config.digest, config, tuple(manifest.layers), frozenset(needed))


def _full_name(entry: Descriptor) -> str:
    """The entry's name in full; other tools write short ones, or none that is one of ours."""
    try:
        return str(reference.parse(name_of(entry)).tagged()) if name_of(entry) else ""
    except InvalidRequest:
        return ""
