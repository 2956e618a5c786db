"""What there is and what it takes: questions about the images that change nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from dosirak.engine.content import Descriptor, Index, Store
from dosirak.engine.images import sizes
from dosirak.engine.images.catalog import Catalog
from dosirak.engine.images.model import HistoryItem, Image
from dosirak.engine.images.reference import Reference, parse
from dosirak.engine.layers import Layers


class Inventory:
    """The part of `Images` that only looks."""

    def __init__(self, store: Store, index: Index, layers: Layers) -> None:
        self._store = store
        self._index = index
        self._layers = layers
        self._catalog = Catalog(store, index, layers)

    def content_size(self, image: Image) -> int:
        """Bytes of its blobs: manifest, config, layers as they are stored."""
        return image.manifest.size + self._store.size(image.id) + sum(layer.size for layer in image.layers)

    def shared_sizes(self) -> Mapping[str, int]:
        """By image id: bytes of its layers that other images have too."""
        return sizes.shared(self._catalog.view().images.values(), self._layer_size)

    def total_size(self) -> int:
        """Bytes that all images' layers take unpacked, each layer once."""
        return sizes.together(self._catalog.view().images.values(), self._layer_size)

    def layers_size(self, diff_ids: Iterable[str]) -> int:
        """Bytes that the files of these layers take, as far as they lie unpacked."""
        return sum(self._layers.size(diff_id) for diff_id in diff_ids if self._layers.has(diff_id))

    def history(self, image: Image) -> list[HistoryItem]:
        """`docker history`, the newest first."""
        sizes = iter([self._layer_size(*pair) for pair in image.pairs])
        items = [
            HistoryItem(
                id="<missing>",
                created=step.created or "",
                created_by=step.created_by,
                size=0 if step.empty_layer else next(sizes, 0),
                comment=step.comment,
            )
            for step in image.config.history or ()
        ]
        items.reverse()
        if items:
            items[0] = replace(items[0], id=image.id, tags=image.names)
        return items

    def tags_of(self, repository: str) -> list[Reference]:
        """The tagged names in a repository (its full name), sorted."""
        found = (parse(name) for name in sorted(self._catalog.view().names))
        return [name for name in found if name.name == repository and name.tag and not name.digest]

    def names_with(self, digest: str) -> list[Reference]:
        """The names of images that have this layer (a blob's digest)."""
        images = self._catalog.view().images.values()
        holders = (image for image in images if any(layer.digest == digest for layer in image.layers))
        return [parse(name) for image in holders for name in image.names]

    def named(self) -> dict[str, Descriptor]:
        """By full reference: the manifest or index it stands for."""
        readable = self._catalog.view().names
        return {name: entry for name, entry in self._index.names().items() if name in readable}

    def needs(self, id: str) -> frozenset[str]:
        """Every digest that the image with this id needs, its diff IDs included."""
        return self._catalog.view().blobs[id]

    def id_of(self, name: str) -> str:
        """The id of the image with this full reference, "" if there is none."""
        return self._catalog.view().names.get(name, "")

    def layer_pairs(self) -> set[tuple[str, str]]:
        """Every (diff ID, blob's digest) that images here have: what is known to belong together."""
        return {
            (diff_id, blob.digest) for image in self._catalog.view().images.values() for diff_id, blob in image.pairs
        }

    def compressed_layers(self) -> dict[str, Descriptor]:
        """By diff ID: the gzip blobs that images here have."""
        images = self._catalog.view().images.values()
        return {id: blob for image in images for id, blob in image.pairs if blob.media_type.endswith("gzip")}

    def _layer_size(self, diff_id: str, blob: Descriptor) -> int:
        return self._layers.size(diff_id) if self._layers.has(diff_id) else blob.size
