"""Docker's rules for removing an image: what goes, or which conflict forbids it. Decides, does nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dosirak.engine.errors import Conflict
from dosirak.engine.images.model import Image, Usage
from dosirak.engine.images.reference import Reference, parse


@dataclass(frozen=True, slots=True)
class Plan:
    """Names to take away (in full), and whether the image goes with them."""

    untag: tuple[str, ...]
    delete: bool


def plan(image: Image, asked: str, usage: Sequence[Usage], *, force: bool, children: bool = False) -> Plan:
    """What `rmi ASKED` does, where `asked` led to `image` and `usage` are the containers made from it.

    By name: the name goes; with its last one the image too, unless containers use it or it has `children`: images that
    were committed from it. By id: the image goes with all its names, if they are in one repository or `force` is given.
    Raises Conflict in Docker's words.
    """
    names = [parse(name) for name in image.names]
    if not _is_id_of(image, asked):
        found = _by_name(image, asked, names, usage, force)
        return replace(found, delete=found.delete and not children)
    if children:
        reason = "image has dependent child images"
        raise Conflict(f"conflict: unable to delete {image.short_id} (cannot be forced) - {reason}")
    if _single(names):
        _check(image, names, usage, force=force, names_matter=False)
    else:
        _check(image, names, usage, force=force, names_matter=True)
    return Plan(image.names, delete=True)


def _by_name(image: Image, asked: str, names: list[Reference], usage: Sequence[Usage], force: bool) -> Plan:
    if not force and _single(names) and usage:
        raise Conflict(
            f'conflict: unable to remove repository reference "{asked}" (must force) - '
            f"container {usage[0].container[:12]} is using its referenced image {image.short_id}"
        )
    wanted = parse(asked).tagged()
    untag = [name for name in names if name == wanted]
    left = [name for name in names if name != wanted]
    if not wanted.digest and not any(name.tag and not name.digest and name.name == wanted.name for name in left):
        # Only names by digest are left in this repository: they go along.
        untag += [name for name in left if name.name == wanted.name]
        left = [name for name in left if name.name != wanted.name]
    # What containers still use stays, nameless; with `force` that stops at running ones only.
    used = [use for use in usage if use.running or not force]
    return Plan(tuple(str(name) for name in untag), delete=not left and not used)


def _check(
    image: Image, names: Sequence[Reference], usage: Sequence[Usage], *, force: bool, names_matter: bool
) -> None:
    def conflict(how: str, why: str) -> Conflict:
        return Conflict(f"conflict: unable to delete {image.short_id} ({how}) - {why}")

    for use in usage:
        if use.running:
            raise conflict("cannot be forced", f"image is being used by running container {use.container[:12]}")
    if force:
        return
    if names_matter and names:
        raise conflict("must be forced", "image is referenced in multiple repositories")
    for use in usage:
        raise conflict("must be forced", f"image is being used by stopped container {use.container[:12]}")


def _is_id_of(image: Image, text: str) -> bool:
    return image.id.startswith(text) or image.id.startswith(text, len("sha256:"))


def _single(names: Sequence[Reference]) -> bool:
    """Whether there is one tag at most, and all names are of one repository."""
    tags = [name for name in names if not name.digest]
    return bool(names) and len(tags) <= 1 and len({name.name for name in names}) == 1


def chain_ids(diff_ids: Iterable[str]) -> list[str]:
    """The names Docker gives to layers on top of each other (OCI image-spec, config.md, "Layer ChainID")."""
    chain: list[str] = []
    for diff_id in diff_ids:
        joint = f"{chain[-1]} {diff_id}" if chain else ""
        chain.append("sha256:" + hashlib.sha256(joint.encode()).hexdigest() if joint else diff_id)
    return chain
