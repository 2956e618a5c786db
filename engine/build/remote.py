"""ADD from a URL: fetched beside the step, then copied like a file of the context.

Semantics: BuildKit's HTTP source. The file is called as the URL's path ends, belongs to root with mode 0600, and is as
old as the server's Last-Modified says (1970 if it says nothing).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from dosirak.engine.build.digests import Digests
from dosirak.engine.build.entries import Source
from dosirak.engine.build.errors import DockerfileError
from dosirak.engine.build.files import Selection, select_file
from dosirak.engine.build.threads import in_thread
from dosirak.engine.build.workspace import opened
from dosirak.engine.errors import InvalidRequest, NotSupported
from dosirak.engine.layers.feed import consume

if TYPE_CHECKING:
    from dosirak.engine.registry.download import Download

Fetching = Callable[[str], "AbstractAsyncContextManager[Download]"]
"""Inside, the file of a URL can be read. Raises EngineError."""

_REMOTE = re.compile(r"(https?|git|ssh)://|git@", re.IGNORECASE)
_HTTP = re.compile(r"https?://", re.IGNORECASE)
_GIT = re.compile(r"\.git(#.*)?$", re.IGNORECASE)
_CHECKSUM = re.compile(r"(sha256|sha384|sha512):([0-9a-f]+)", re.ASCII)
_PIECE = 1 << 20
_UNNAMED = "__unnamed__"


def is_remote(path: str) -> bool:
    """Whether a source of ADD is no path."""
    return _REMOTE.match(path) is not None


def check_url(url: str) -> None:
    """Raises NotSupported for what is no HTTP file."""
    if not _HTTP.match(url) or _GIT.search(url):
        raise NotSupported(f"ADD {url}: git repositories are not supported yet; use RUN with git instead")


def check_checksum(text: str) -> None:
    """Raises DockerfileError unless it is algorithm:hex."""
    found = _CHECKSUM.fullmatch(text)
    if found is None or len(found[2]) != hashlib.new(found[1]).digest_size * 2:
        raise DockerfileError(f"invalid checksum digest format: {text}")


def file_name(url: str) -> str:
    """What the file is called: the last part of the URL's path."""
    name = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]
    return name if name not in ("", ".", "..") and "\0" not in name else _UNNAMED


@asynccontextmanager
async def fetched(
    url: str, checksum: str, place: Path, fetch: Fetching | None, digests: Digests
) -> AsyncIterator[tuple[Selection, Source]]:
    """Inside, the file of the URL is there: it alone, selected from the directory `place`, which is made for it.

    Parameters: `checksum` ("": any content). Raises InvalidRequest when the content is another, NotFound, Unreachable.
    """
    if fetch is None:
        raise NotSupported(f"ADD {url}: this engine fetches nothing")
    name = file_name(url)
    path = place / name
    async with fetch(url) as download:
        modified = _seconds(download.modified)
        await consume(download.body, lambda body: _store(body, path, checksum, modified))
    with opened(place) as root:
        source = Source(root, context=True)
        yield await in_thread(lambda stop: select_file(source, name, digests, stop)), source


def _store(body: BinaryIO, path: Path, checksum: str, modified: int) -> None:
    path.parent.mkdir(mode=0o700)
    algorithm = checksum.partition(":")[0] or "sha256"
    total = hashlib.new(algorithm)
    with path.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        while piece := body.read(_PIECE):
            total.update(piece)
            file.write(piece)
    found = f"{algorithm}:{total.hexdigest()}"
    if checksum and found != checksum:
        raise InvalidRequest(f"digest mismatch {found}: {checksum}")
    os.utime(path, (modified, modified))


def _seconds(date: str) -> int:
    try:
        return max(0, int(parsedate_to_datetime(date).timestamp()))
    except (ValueError, OverflowError, OSError):
        return 0
