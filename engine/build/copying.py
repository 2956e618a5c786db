"""COPY, ADD and WORKDIR done: select, and write into the step's file system. Blocking."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dosirak.engine.build.digests import Digests
from dosirak.engine.build.entries import Source, Tree, open_file
from dosirak.engine.build.files import Selection, select
from dosirak.engine.build.graph import CopyFiles, MakeDirectory
from dosirak.engine.build.ignore import Ignore
from dosirak.engine.build.modes import parse_mode
from dosirak.engine.build.owner import resolve_owner
from dosirak.engine.build.threads import Stop
from dosirak.engine.build.trees import copy_tree
from dosirak.engine.build.workspace import Workspace, opened
from dosirak.engine.build.writing import Rules, Writer
from dosirak.engine.errors import EngineError, InvalidRequest
from dosirak.engine.layers.compression import decompressed
from dosirak.engine.layers.extract import extract

_BLOCK = 512
_CHECKSUM = slice(148, 156)


def select_files(vertex: CopyFiles, source: Source, digests: Digests, stop: Stop) -> Selection:
    """The files that a COPY copies. Raises InvalidRequest, NotFound, OSError, Stopped."""
    excludes = Ignore(vertex.excludes)
    return select(source, vertex.paths, digests, stop, parents=vertex.parents, excludes=excludes)


def copy_files(
    vertex: CopyFiles,
    selection: Selection,
    source: Source,
    workspace: Workspace,
    stop: Stop,
    fetched: Sequence[tuple[Selection, Source]] = (),
) -> None:
    """Does a COPY or ADD; `fetched` are the files of its URLs. Raises InvalidRequest, OSError, Stopped."""
    several = len(selection.trees) + len(vertex.contents) + len(fetched) > 1
    with workspace.merged() as root:
        owner = resolve_owner(root, vertex.chown) if vertex.chown else ((0, 0) if source.context else None)
        mode = parse_mode(vertex.chmod) if vertex.chmod else None
        writer = Writer(root, Rules(owner, mode), stop)
        if several and not vertex.destination.endswith("/") and not writer.is_directory(vertex.destination):
            problem = f"When using {vertex.instruction} with more than one source file"
            raise InvalidRequest(f"{problem}, the destination must be a directory and end with a /")
        for selected, place in fetched:
            for tree in selected.trees:
                if not (vertex.unpack_fetched and _unpack(place, tree, writer, vertex, workspace, stop)):
                    copy_tree(writer, place, tree, vertex.destination)
        for tree in selection.trees:
            if not (vertex.unpack and _unpack(source, tree, writer, vertex, workspace, stop)):
                copy_tree(writer, source, tree, vertex.destination)
        for name, content in vertex.contents:
            if "/" in name or name in (".", ".."):
                raise InvalidRequest(f"{name}: a here-document's name can't be a path")
            writer.write_file(name, content.encode(), vertex.destination)


def make_directory(vertex: MakeDirectory, workspace: Workspace, stop: Stop) -> None:
    """Does a WORKDIR. Raises InvalidRequest, OSError."""
    with workspace.merged() as root:
        owner = resolve_owner(root, vertex.user) if vertex.user else (0, 0)
        os.close(Writer(root, Rules(owner), stop).open_directory(vertex.path))


@contextmanager
def wording(what: str) -> Iterator[None]:
    """Errors of the work inside, in Docker's words: "COPY failed: …"."""
    try:
        yield
    except EngineError as error:
        raise type(error)(f"{what} failed: {error}") from error


def _unpack(source: Source, tree: Tree, writer: Writer, vertex: CopyFiles, workspace: Workspace, stop: Stop) -> bool:
    """Unpacks the one file of `tree` into the destination if it is a tar archive, compressed or not."""
    if tree.top is None or not stat.S_ISREG(tree.top.stat.st_mode):
        return False
    with open(open_file(source.root, tree.path, in_root=True), "rb") as file:
        if not is_archive(file):
            return False
        file.seek(0)
        if vertex.chown or vertex.chmod:
            _unpack_beside(file, writer, vertex, workspace, stop)
            return True
        directory = writer.open_directory(vertex.destination)
        try:
            extract(decompressed(file), directory, whiteouts=False)
        finally:
            os.close(directory)
    return True


def _unpack_beside(file: BinaryIO, writer: Writer, vertex: CopyFiles, workspace: Workspace, stop: Stop) -> None:
    """An archive whose files get other owners or modes: unpacked into a directory of the step, then copied."""
    # it goes with the build's own directory
    place = Path(tempfile.mkdtemp(dir=workspace.place))
    with opened(place) as root:
        extract(decompressed(file), root, whiteouts=False)
        source = Source(root)
        for tree in select(source, ["/"], Digests(), stop, excludes=Ignore()).trees:
            copy_tree(writer, source, tree, vertex.destination)


def is_archive(file: BinaryIO) -> bool:
    """Whether a tar begins here, behind any compression: its first block's checksum is right."""
    try:
        block = decompressed(file).read(_BLOCK)
    except (EngineError, OSError, EOFError, ValueError):
        return False
    if len(block) < _BLOCK or not any(block):
        return False
    field = block[_CHECKSUM].strip(b" \0")
    try:
        expected = int(field, 8)
    except ValueError:
        return False
    return expected == sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ")
