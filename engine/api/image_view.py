"""An image as Docker's JSON: the line of a list and the page of `inspect`."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from dosirak.engine.api import times
from dosirak.engine.images import parse

if TYPE_CHECKING:
    from dosirak.engine.api.call import Call
    from dosirak.engine.content import Descriptor
    from dosirak.engine.images import Image

# Config fields that are always there, although the image's own document leaves them out when empty:
# up to API 1.51, and some more up to 1.49 (moby, daemon/server/router/image/inspect_response.go).
_CONFIG_151: dict[str, Any] = {
    "Cmd": None,
    "Entrypoint": None,
    "Env": None,
    "Labels": None,
    "OnBuild": None,
    "User": "",
    "Volumes": None,
    "WorkingDir": "",
}
_CONFIG_149: dict[str, Any] = {
    "AttachStderr": False,
    "AttachStdin": False,
    "AttachStdout": False,
    "Domainname": "",
    "Hostname": "",
    "Image": "",
    "OpenStdin": False,
    "StdinOnce": False,
    "Tty": False,
    **_CONFIG_151,
}


def names(image: Image) -> tuple[list[str], list[str]]:
    """An image's tags and digests as people write them ("busybox:latest", "busybox@sha256:…")."""
    familiar = [parse(name).familiar for name in image.names]
    return [name for name in familiar if "@" not in name], [name for name in familiar if "@" in name]


def summary(call: Call, image: Image, *, shared: int = -1, manifests: bool = False) -> dict[str, Any]:
    """An image as `GET /images/json` lists it; `shared`: bytes it shares with others, -1 for "not asked"."""
    tags, digests = names(image)
    if not tags and not digests and call.version < (1, 43):
        tags, digests = ["<none>:<none>"], ["<none>@<none>"]
    document: dict[str, Any] = {
        "Containers": len(call.rooms.containers.using_image(image.id)) if call.version >= (1, 51) else -1,
        "Created": _unix(image.created),
        "Id": image.id,
        "Labels": image.config.config.labels or {},
        "ParentId": image.parent,
        "RepoDigests": digests,
        "RepoTags": tags,
        "SharedSize": shared,
        "Size": image.size,
    }
    if call.version >= (1, 48):
        document["Descriptor"] = descriptor(image.manifest)
    if manifests and call.version >= (1, 47):
        document["Manifests"] = _manifests(call, image)
    if call.version < (1, 44):
        document["VirtualSize"] = image.size
    return document


def _manifests(call: Call, image: Image) -> list[dict[str, Any]]:
    """The manifests below an image's name; here one, since an image is kept for one platform."""
    content = call.rooms.images.content_size(image)
    return [
        {
            "ID": image.manifest.digest,
            "Descriptor": descriptor(image.manifest),
            "Available": True,
            "Size": {"Content": content, "Total": content + image.size},
            "Kind": "image",
            "ImageData": {
                "Platform": msgspec.to_builtins(image.config.platform),
                "Size": {"Unpacked": image.size},
                "Containers": [user.id for user in call.rooms.containers.using_image(image.id)],
            },
        }
    ]


def inspect(call: Call, image: Image, lower: list[str], *, manifests: bool = False) -> dict[str, Any]:
    """An image as `GET /images/{name}/json` shows it; `lower`: its overlay directories, the topmost first."""
    tags, digests = names(image)
    config = image.config
    version = call.version
    document: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": tags,
        "RepoDigests": digests,
        "Parent": image.parent,
        "Comment": config.comment,
        # Since 1.44 an image that does not say when it was made has no such field.
        **({"Created": image.created or times.NEVER} if image.created or version < (1, 44) else {}),
        "DockerVersion": "",
        "Author": config.author,
        "Config": (_CONFIG_149 if version < (1, 50) else _CONFIG_151) | msgspec.to_builtins(config.config),
        "Architecture": config.architecture,
        **({"Variant": config.variant} if config.variant else {}),
        "Os": config.os,
        **({"OsVersion": config.os_version} if config.os_version else {}),
        "Size": image.size,
        "GraphDriver": {"Data": _layers(lower), "Name": "overlayfs"},
        "RootFS": {"Type": "layers", "Layers": image.diff_ids},
        "Metadata": {"LastTagTime": times.NEVER},
    }
    if version < (1, 44):
        document["VirtualSize"] = image.size
    if version < (1, 45):
        # What the image was committed from; compose 1 looks into it.
        document |= {"Container": "", "ContainerConfig": _CONFIG_149}
    if version >= (1, 48):
        document["Descriptor"] = descriptor(image.manifest)
        if manifests:
            document["Manifests"] = _manifests(call, image)
    return document


def _layers(lower: list[str]) -> dict[str, str]:
    if not lower:
        return {}
    below = {"LowerDir": ":".join(lower[1:])} if len(lower) > 1 else {}
    return {**below, "UpperDir": lower[0]}


def descriptor(found: Descriptor) -> dict[str, Any]:
    """A descriptor as the OCI image spec writes it."""
    document: dict[str, Any] = msgspec.to_builtins(found)
    return document


def _unix(created: str) -> int:
    """RFC 3339 as unix seconds; what can't be read is Go's zero time, as in Docker."""
    try:
        # Before Python 3.11 fromisoformat took no "Z"; nine decimals it cuts to six by itself.
        return int(datetime.datetime.fromisoformat(created).timestamp())
    except ValueError:
        return -62135596800


def history(call: Call, image: Image) -> list[dict[str, Any]]:
    """`docker history`, the newest first."""
    return [
        {
            "Id": item.id,
            "Created": _unix(item.created),
            "CreatedBy": item.created_by,
            "Tags": [parse(tag).familiar for tag in item.tags] or None,
            "Size": item.size,
            "Comment": item.comment,
        }
        for item in call.rooms.images.history(image)
    ]
