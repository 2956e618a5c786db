"""What a step's work is called.

A *state* names a file system by how it was made: 64 hex digits, a digest of the work done and of the states and file
contents it was done on, times left out. Equal states mean equal work, so a state is the step cache's key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from dosirak.engine.build.graph import CopyFiles, Execute, MakeDirectory, Work

_SHOWN = 200


def digest(*parts: object) -> str:
    """One name for a sequence of texts, numbers and tuples of them."""
    return hashlib.sha256(repr(parts).encode(errors="surrogatepass")).hexdigest()


def base_state(diff_ids: Iterable[str]) -> str:
    """The state of an image's file system: its layers make it, whatever its name."""
    return digest("base", tuple(diff_ids))


def run_state(vertex: Execute, parent: str, mounted: tuple[str, ...], hosts: tuple[str, ...]) -> str:
    """The state after a RUN; `mounted` are the states of what its mounts take, `hosts` its extra hosts,
    whose names count and whose addresses don't, as in BuildKit."""
    mounts = tuple(mount for mount, _ in vertex.mounts)
    hosts = tuple(host.replace("=", ":", 1).partition(":")[0] for host in hosts)
    work = (vertex.argv, vertex.env, vertex.cwd, vertex.user, vertex.network, mounts, vertex.script, hosts)
    return digest("run", parent, mounted, work)


def directory_state(vertex: MakeDirectory, parent: str) -> str:
    """The state after a WORKDIR."""
    return digest("mkdir", parent, vertex.path, vertex.user)


def copy_state(vertex: CopyFiles, parent: str, checksum: str) -> str:
    """The state after a COPY of files with that checksum, wherever they came from."""
    return digest("copy", parent, checksum, _copy_work(vertex))


def fetched_checksum(checksum: str, fetched: Iterable[str]) -> str:
    """The checksum of files copied together with some that were fetched."""
    return digest("fetched", checksum, tuple(fetched))


def fetch_shortcut(vertex: CopyFiles, parent: str) -> str:
    """Another key for an ADD of one URL whose content is said beforehand: nothing has to be fetched."""
    return digest("copy-url", parent, vertex.urls, vertex.checksum, _copy_work(vertex))


def copy_shortcut(vertex: CopyFiles, parent: str, source: str) -> str:
    """Another key for a COPY out of a file system: by that one's state, so that no file has to be looked at."""
    return digest("copy-from", parent, source, vertex.paths, _copy_work(vertex))


def clamped(state: str, seconds: int) -> str:
    """A state whose newest layer has no file younger than that (unix seconds)."""
    return digest("clamped", state, seconds)


def described(vertex: Work) -> str:
    """What the work was, for people, in the words of BuildKit's disk usage."""
    match vertex:
        case Execute():
            text = f"mount / from exec {' '.join(vertex.argv)}"
        case CopyFiles():
            sources = [*vertex.urls, *vertex.paths, *(name for name, _ in vertex.contents)]
            text = f"{vertex.instruction} {' '.join(sources)} {vertex.destination}"
        case MakeDirectory():
            text = f"WORKDIR {vertex.path}"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _copy_work(vertex: CopyFiles) -> tuple[object, ...]:
    rules: tuple[object, ...] = (vertex.chown, vertex.chmod, vertex.unpack, vertex.parents, vertex.excludes)
    if vertex.urls:
        rules = (*rules, len(vertex.urls), vertex.unpack_fetched)
    return (len(vertex.paths), vertex.contents, vertex.destination, rules)
