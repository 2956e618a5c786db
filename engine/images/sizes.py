"""How much room images take, with layers that several of them share counted rightly. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from dosirak.engine.content.model import Descriptor
from dosirak.engine.images.model import Image

Size = Callable[[str, Descriptor], int]
"""Bytes of a layer, by its diff ID and its blob."""


def shared(images: Iterable[Image], size: Size) -> Mapping[str, int]:
    """By image id: bytes of its layers that another of the images has too."""
    images = list(images)
    users = Counter(layer for image in images for layer in set(image.diff_ids))
    return {image.id: sum(size(*pair) for pair in image.pairs if users[pair[0]] > 1) for image in images}


def together(images: Iterable[Image], size: Size) -> int:
    """Bytes of all the images' layers, each layer once."""
    layers = {diff_id: blob for image in images for diff_id, blob in image.pairs}
    return sum(size(*pair) for pair in layers.items())
