"""What a caller hands to a build ahead of it: secrets, agents, folders of this machine. In memory, for one build."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from dosirak.engine.errors import InvalidRequest, NotFound

LARGEST = 500 << 10
"""The most bytes a secret may have: BuildKit's limit, since a secret is no way to send files."""
_PATIENCE = 300.0
_MOST = 64


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory that caller and engine both see: `device` and `inode` are what the caller found at `path`, since
    one path may lead two processes to different places (mount_namespaces(7))."""

    path: str
    device: int
    inode: int

    def open(self) -> int:
        """A descriptor to read by. Raises InvalidRequest when it is not that directory here."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InvalidRequest(f'unable to prepare context: path "{self.path[:200]}": {reason}') from error
        status = os.fstat(fd)
        if self.path.startswith("/") and (status.st_dev, status.st_ino) == (self.device, self.inode):
            return fd
        os.close(fd)
        raise InvalidRequest(f'unable to prepare context: path "{self.path[:200]}" is another directory here')


@dataclass(frozen=True, slots=True)
class Remote:
    """A context by its URL: a tar archive, or a Dockerfile alone."""

    url: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """`secrets`: content by id. `agents`: the path of an ssh agent's socket by id ("default" is the usual one).
    `folder`: the context, to be read where it lies. `dockerfile`: the Dockerfile's text, where it is no file of that.
    `contexts`: further contexts by name (lower case), which go before stages and images of that name: a folder, or the
    name of an image.
    """

    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    agents: Mapping[str, str] = field(default_factory=dict)
    folder: Folder | None = None
    dockerfile: str | None = None
    contexts: Mapping[str, Folder | str] = field(default_factory=dict)


class Offers:
    """Inputs that came ahead of their build: each is taken once, and forgotten when no build comes for it."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[float, Inputs]] = {}

    def put(self, inputs: Inputs) -> str:
        """Keeps inputs for five minutes; returns the word they are taken by.

        Raises InvalidRequest when a secret is too large or too much is held already.
        """
        for name, content in inputs.secrets.items():
            if len(content) > LARGEST:
                raise InvalidRequest(f"invalid secret size {len(content)} of {name}: the limit is {LARGEST} bytes")
        now = time.monotonic()
        self._held = {word: held for word, held in self._held.items() if held[0] > now}
        if len(self._held) >= _MOST:
            raise InvalidRequest("too many builds have been announced that did not come")
        word = secrets.token_hex(16)
        self._held[word] = (now + _PATIENCE, inputs)
        return word

    def take(self, word: str) -> Inputs:
        """What was put under `word`, which means nothing from now on. Raises NotFound."""
        until, inputs = self._held.pop(word, (0.0, Inputs()))
        if until <= time.monotonic():
            raise NotFound("the build's secrets are not here any more: send them again")
        return inputs
