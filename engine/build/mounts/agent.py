"""`--mount=type=ssh`: the caller's agent inside the step, to sign with and nothing else.

The protocol is draft-miller-ssh-agent: a 4-byte length, a type, a body. A step may ask for the list of keys and for
signatures; what would change the agent (add, remove, lock) or is an extension is refused, as in BuildKit.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from dosirak.engine.build.dockerfile.mounts import Mount
from dosirak.engine.build.workspace import opened
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.runtime import owners

VARIABLE = "SSH_AUTH_SOCK"
_ALLOWED = frozenset({11, 13})  # SSH_AGENTC_REQUEST_IDENTITIES, SSH_AGENTC_SIGN_REQUEST
_FAILURE = b"\0\0\0\1\5"  # SSH_AGENT_FAILURE
_LARGEST = 256 << 10
_MOST = 64
"""Connections of a step at a time: each takes two descriptors of this process, which serves others too."""


def target(mount: Mount, number: int) -> str:
    """Where the step has the agent's socket. `number`: which of the step's agents it is, from 0."""
    return mount.target or f"/run/buildkit/ssh_agent.{number}"


def find(mount: Mount, agents: Mapping[str, str]) -> str | None:
    """The agent's socket here; None when the caller has none and the step can do without. Raises InvalidRequest."""
    name = mount.id or "default"
    path = agents.get(name)
    if path is None:
        if mount.required:
            raise InvalidRequest(f"unset ssh forward key {name}")
        return None
    try:
        is_socket = stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError as error:
        raise InvalidRequest(f"ssh agent {name}: {path}: {error.strerror}") from error
    if not is_socket:
        raise InvalidRequest(f"ssh agent {name}: {path} is not an agent's socket: add the key to an agent")
    return path


async def forward(place: Path, number: int, mount: Mount, path: str, stack: AsyncExitStack) -> Path:
    """A socket below `place` that leads to the agent at `path` until `stack` is left. Raises OSError."""
    name = f"agent{number}"
    listener = _listener(place, name, mount)
    talks: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(talks) >= _MOST:
            writer.close()
            return
        talk = asyncio.ensure_future(_talk(path, reader, writer))
        talks.add(talk)
        talk.add_done_callback(talks.discard)

    async def end() -> None:
        server.close()
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)

    # start_unix_server would look the name up, to remove it (Python 3.13), when its descriptor is another file's
    server = await asyncio.start_server(accepted, sock=listener)
    stack.push_async_callback(end)
    return place / name


def _listener(place: Path, name: str, mount: Mount) -> socket.socket:
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with opened(place) as directory:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        # by descriptor: a path may be longer than the 108 bytes of unix(7)
        listener.bind(f"/proc/self/fd/{directory}/{name}")
        owners.give(name, mount.uid or 0, mount.gid or 0, dir_fd=directory)
        os.chmod(name, 0o600 if mount.mode is None else mount.mode & 0o777, dir_fd=directory)
    return listener


async def _talk(path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection of the step's: question by question, each answered before the next."""
    agent: asyncio.StreamWriter | None = None
    try:
        answers, agent = await asyncio.open_unix_connection(path)
        while True:
            question = await _message(reader)
            if question[4] not in _ALLOWED:
                writer.write(_FAILURE)
            else:
                agent.write(question)
                writer.write(await _message(answers))
            await writer.drain()
    except (OSError, EOFError, ValueError):
        return  # one side has hung up, or speaks something else
    finally:
        for end in (writer, agent):
            if end is not None:
                with suppress(OSError):
                    end.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """A whole message with its length. Raises IncompleteReadError at the end, ValueError for one too long."""
    head = await reader.readexactly(4)
    length = int.from_bytes(head, "big")
    if not 0 < length <= _LARGEST:
        raise ValueError("not an agent's message")
    return head + await reader.readexactly(length)
