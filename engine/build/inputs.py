"""What a caller hands to a build beside its context: secrets and agents. In memory only, and for one build."""

from __future__ import annotations

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
class Inputs:
    """`secrets`: content by id. `agents`: the path of an ssh agent's socket by id ("default" is the usual one)."""

    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    agents: Mapping[str, str] = field(default_factory=dict)


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
