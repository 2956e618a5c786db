"""The graph a Dockerfile becomes: vertices that make file systems, and the steps a person sees.

A vertex holds its inputs, so the target's vertex holds everything it needs and nothing else. Vertices are compared by
identity; what makes two of them do the same work is for `cache` to say.
"""

from __future__ import annotations

from dataclasses import dataclass

from dosirak.engine.build.dockerfile.ast import Lines
from dosirak.engine.build.dockerfile.mounts import Mount


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """An image's file system; `image` as FROM or --from names it, "" is scratch."""

    image: str


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """A context of the build, as a source of files; `name` is "" for the one that COPY copies from by itself."""

    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Execute:
    """RUN: a command in the parent's file system.

    `env` are "NAME=value" that make the result what it is; `transparent` are those that don't (proxies).
    `script` is a here-document with a `#!` line: (name, content) of the file that `argv` executes.
    """

    parent: Vertex
    argv: tuple[str, ...]
    env: tuple[str, ...]
    transparent: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    network: str = "default"
    mounts: tuple[tuple[Mount, Vertex | None], ...] = ()
    script: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MakeDirectory:
    """WORKDIR: a directory with its parents, made for `user` when missing."""

    parent: Vertex
    path: str
    user: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class CopyFiles:
    """COPY or ADD: files of `source` into the parent's file system.

    `paths` may have wildcards; `contents` are (name, content) of here-documents; `destination` is absolute, and ends
    with "/" when it has to be a directory. Files of the context become root's, files of a file system keep their
    owners, unless `chown` says otherwise. `unpack`: local archives are unpacked. `urls` are fetched and copied first,
    their archives unpacked if `unpack_fetched`; `checksum` ("": any) is what the one URL has to hold.
    """

    parent: Vertex
    source: Vertex
    paths: tuple[str, ...]
    contents: tuple[tuple[str, str], ...]
    destination: str
    instruction: str
    chown: str = ""
    chmod: str = ""
    unpack: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    checksum: str = ""
    unpack_fetched: bool = False


Work = Execute | MakeDirectory | CopyFiles
"""Vertices that make a layer."""

Vertex = Base | Context | Work


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction of a needed stage, as a person sees it.

    `vertex` is the stage's file system after it (None for an ARG before the first FROM); `works` tells whether this
    step makes that vertex, or only changes what the image says about itself.
    """

    number: int
    text: str
    stage: str
    lines: Lines
    vertex: Vertex | None
    works: bool


@dataclass(frozen=True, slots=True)
class History:
    """What the image's history says of a step: `created_by`, and the vertex whose layer it added (None: no layer)."""

    created_by: str
    vertex: Vertex | None
