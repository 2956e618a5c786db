"""`/dosirak/images/{name}/layers`: what each layer of an image has, changes, deletes and wastes."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dosirak.engine.api import reply, times
from dosirak.engine.errors import NotFound
from dosirak.engine.layers.threads import in_thread

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call
    from dosirak.engine.images import Image
    from dosirak.engine.images.anatomy import Change, LayerFiles

_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFIFO: "fifo",
}


async def layers(call: Call) -> StreamResponse:
    """`GET …/layers?path=/etc/passwd`: the layers from the bottom up, with the history that made them.

    `files` counts what a layer adds, changes and deletes; `wasted` are the bytes of its files that no container sees,
    since upper layers replace or delete them; `efficiency` is the part that is seen. With `path` also which layers say
    something about it.
    """
    image, read = await _read(call)
    made = [entry for entry in image.config.history or () if not entry.empty_layer]
    # An image may come without history: then its layers have none either.
    steps = [*made, *[None] * (len(image.layers) - len(made))]
    total, wasted = sum(layer.size for layer in read), sum(layer.hidden for layer in read)
    document: dict[str, Any] = {
        "id": image.id,
        "names": list(image.names),
        "total": total,
        "wasted": wasted,
        "efficiency": 1 - wasted / total if total else 1.0,
        "layers": [
            {
                "diff_id": diff_id,
                "digest": blob.digest,
                "size": blob.size,
                "unpacked": found.size,
                "wasted": found.hidden,
                "files": {"added": found.count("A"), "changed": found.count("C"), "deleted": found.count("D")},
                "created_by": step.created_by if step else "",
                "created": step.created if step else times.NEVER,
            }
            for (diff_id, blob), found, step in zip(image.pairs, read, steps, strict=False)
        ],
    }
    if path := call.text("path"):
        from dosirak.engine.images.anatomy import where

        document["path"] = [{"layer": number, **_change(change)} for number, change in where(read, path)]
    return reply.json(document)


async def files(call: Call) -> StreamResponse:
    """`GET …/layers/{number}/files`: one layer's changes; the lowest layer is 0."""
    _, read = await _read(call)
    number = call.vars["number"]
    if not number.isdecimal() or len(number) > 3 or int(number) >= len(read):
        raise NotFound(f"no such layer: {number[:40]} (the image has {len(read)})")
    return reply.json([_change(change) for change in read[int(number)].changes])


async def _read(call: Call) -> tuple[Image, list[LayerFiles]]:
    from dosirak.engine.images import anatomy

    images = call.rooms.images
    image = await images.resolve(call.vars["name"])
    with images.hold_image(image):
        lowers = await images.lower_dirs(image)
        return image, await in_thread(anatomy.read, [Path(path) for path in reversed(lowers)])


def _change(change: Change) -> dict[str, Any]:
    return {
        "path": "/" + change.path.decode("utf-8", "backslashreplace"),
        "change": change.kind,
        "size": change.size,
        "type": _TYPES.get(stat.S_IFMT(change.mode), ""),
    }
