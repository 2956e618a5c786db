"""`/exec` and `/containers/{name}/exec`."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from dosirak.engine.api import hijack, reply
from dosirak.engine.api.containers import size
from dosirak.engine.api.router import Route
from dosirak.engine.containers import ExecConfig, wire
from dosirak.engine.errors import EngineError, HostLimit, InvalidRequest
from dosirak.engine.supervision.model import Attach

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call


class ExecStart(msgspec.Struct, rename="pascal"):
    """The body of `POST /exec/{id}/start`."""

    detach: bool | None = False
    tty: bool | None = False
    console_size: tuple[int, int] | None = None


async def create(call: Call) -> StreamResponse:
    """`POST /containers/{name}/exec`."""
    body = await call.json(dict[str, Any])
    config, _ = wire.parse(ExecConfig, body or {})
    try:
        hijack.detach_keys(config.detach_keys)
    except InvalidRequest:
        # 500 and "escape", as in Docker; attach says "detach" and 400.
        raise HostLimit(f"Invalid escape keys ({hijack.shown(config.detach_keys)}) provided") from None
    if not config.cmd:
        raise InvalidRequest("No exec command specified")
    containers, name = call.rooms.containers, call.vars["name"]
    await containers.exec_check_user(name, config.user)
    return reply.json({"Id": containers.exec_create(name, config)}, 201)


async def start(call: Call) -> StreamResponse:
    """`POST /exec/{id}/start`: detached, or the connection becomes the process's streams."""
    options = await call.json(ExecStart) or ExecStart()
    containers = call.rooms.containers
    found = containers.exec_inspect(call.vars["id"])
    console = options.console_size if options.tty and call.version >= (1, 42) else None
    if options.detach:
        await containers.exec_start(found.id, None, size=console)
        return reply.empty(200)
    framed = not options.tty
    keys = hijack.detach_keys(found.config.detach_keys)
    stream, answer = await hijack.take(call, framed)
    client = Attach(
        sock=stream.sock,
        stdin=found.config.attach_stdin,
        stdout=found.config.attach_stdout,
        stderr=found.config.attach_stderr,
        framed=framed,
        detach_keys=keys,
        initial=stream.initial,
    )
    try:
        await containers.exec_start(found.id, client, size=console)
    except EngineError as error:
        await stream.fail(error.message)
    finally:
        stream.release()
    return answer


async def inspect(call: Call) -> StreamResponse:
    """`GET /exec/{id}/json`."""
    await call.rooms.containers.exec_settle(call.vars["id"])
    found = call.rooms.containers.exec_inspect(call.vars["id"])
    config = found.config
    command = config.cmd or [""]
    return reply.json(
        {
            "ID": found.id,
            "Running": found.running,
            "ExitCode": found.exit_code,
            "ProcessConfig": {
                "tty": config.tty,
                "entrypoint": command[0],
                "arguments": command[1:],
                "privileged": found.privileged,
                "user": config.user,
            },
            "OpenStdin": config.attach_stdin,
            "OpenStderr": config.attach_stderr,
            "OpenStdout": config.attach_stdout,
            "CanRemove": found.can_remove,
            "ContainerID": found.container,
            "DetachKeys": base64.b64encode(hijack.detach_keys(config.detach_keys, default=b"")).decode(),
            "Pid": found.pid,
        }
    )


async def resize(call: Call) -> StreamResponse:
    """`POST /exec/{id}/resize`."""
    await call.rooms.containers.exec_resize(call.vars["id"], size(call, "h", "height"), size(call, "w", "width"))
    return reply.empty(200)


ROUTES = (
    Route("POST", "/containers/{name}/exec", create),
    Route("POST", "/exec/{id}/start", start),
    Route("POST", "/exec/{id}/resize", resize),
    Route("GET", "/exec/{id}/json", inspect),
)
