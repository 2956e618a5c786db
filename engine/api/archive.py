"""Files of a container: `docker cp`, `docker export`, `docker diff`."""

from __future__ import annotations

import base64
import stat
from typing import TYPE_CHECKING

from dosirak.engine.api import reply, times
from dosirak.engine.api.router import Route
from dosirak.engine.api.transfer import Download, Upload, abortable
from dosirak.engine.errors import InvalidRequest

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call
    from dosirak.engine.containers.files import PathStat

_STAT = "X-Docker-Container-Path-Stat"
_TAR = {"Content-Type": "application/x-tar"}
# Go's io/fs.FileMode: its own bits for what stat(2) has in others.
_GO_TYPES = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_GO_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


async def head(call: Call) -> StreamResponse:
    """`HEAD /containers/{name}/archive`."""
    found = await call.rooms.containers.files.stat(call.vars["name"], _path(call))
    response = reply.empty(200)
    response.headers[_STAT] = _encoded(found)
    return response


async def get(call: Call) -> StreamResponse:
    """`GET /containers/{name}/archive`."""
    download = Download(call)
    work = call.rooms.containers.files.archive(
        call.vars["name"],
        _path(call),
        lambda found, pieces: download.send({_STAT: _encoded(found), **_TAR}, pieces),
    )
    await abortable(work, download.abort)
    return download.answer()


async def put(call: Call) -> StreamResponse:
    """`PUT /containers/{name}/archive`."""
    upload = Upload(call)
    try:
        work = call.rooms.containers.files.extract(
            call.vars["name"],
            _path(call),
            upload.reader,
            copy_ids=call.flag("copyUIDGID"),
            keep_kinds=call.flag("noOverwriteDirNonDir"),
        )
        await abortable(work, upload.abort)
    finally:
        await upload.finish()
    return reply.empty(200)


async def export(call: Call) -> StreamResponse:
    """`GET /containers/{name}/export`."""
    download = Download(call)
    headers = {"Content-Type": "application/octet-stream"}
    work = call.rooms.containers.files.export(call.vars["name"], lambda pieces: download.send(headers, pieces))
    await abortable(work, download.abort)
    return download.answer()


async def changes(call: Call) -> StreamResponse:
    """`GET /containers/{name}/changes`; null where nothing has changed, as in Docker."""
    found = await call.rooms.containers.files.changes(call.vars["name"])
    return reply.json(found or None)


def _path(call: Call) -> str:
    path = call.text("path")
    if not path:
        raise InvalidRequest("bad parameter: path cannot be empty")
    return path


def _encoded(found: PathStat) -> str:
    document = {
        "name": found.name,
        "size": found.size,
        "mode": go_mode(found.mode),
        "mtime": times.rfc3339_ns(found.mtime),
        "linkTarget": found.link_target,
    }
    return base64.b64encode(reply.encode(document).rstrip()).decode()


def go_mode(mode: int) -> int:
    """stat(2)'s mode as Go's os.FileMode."""
    bits = sum(go for bit, go in _GO_BITS.items() if mode & bit)
    return (mode & 0o777) | bits | _GO_TYPES.get(stat.S_IFMT(mode), 0)


ROUTES = (
    Route("HEAD", "/containers/{name}/archive", head),
    Route("GET", "/containers/{name}/archive", get),
    Route("PUT", "/containers/{name}/archive", put),
    Route("GET", "/containers/{name}/export", export),
    Route("GET", "/containers/{name}/changes", changes),
)
