"""A tar's entries into a directory we do not trust, by descriptors only (see `inroot`)."""

from __future__ import annotations

from typing import BinaryIO

from dosirak.engine.layers.model import Extracted


def extract(source: BinaryIO, root_fd: int, *, whiteouts: bool) -> Extracted:
    """Extracts an uncompressed tar below the directory `root_fd`. Blocking.

    Parameters: `whiteouts`: True for an image layer (".wh." entries become overlay whiteouts), False for any other
    tar (build context, ADD, cp), where such a name is a name like any other. Existing entries are replaced, never
    written through. Raises InvalidRequest (CorruptArchive) for a bad or hostile archive, HostLimit when the disk
    is full; what was extracted until then stays, so extract into a directory you can throw away.
    """
    raise NotImplementedError
