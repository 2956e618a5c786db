"""What of the store a served registry shows: names, tags, manifests, and the blobs that these lead to."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from dosirak.engine.content import Descriptor
from dosirak.engine.content.digests import PATTERN
from dosirak.engine.errors import EngineError, InvalidRequest
from dosirak.engine.images import documents
from dosirak.engine.images.reference import parse
from dosirak.engine.layers.threads import in_thread
from dosirak.engine.registry.serving.model import Refused

if TYPE_CHECKING:
    from dosirak.engine.content import Store
    from dosirak.engine.images import Images

NAME = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
"""A repository's name (spec.md, "Pulling manifests")."""
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
DIGEST = re.compile(PATTERN)
_LONGEST_NAME = 255


class Shelf:
    """The images that are shown. On the event loop. `domain`: where what was pushed is kept ("localhost:5000")."""

    def __init__(self, images: Images, store: Store, domain: str) -> None:
        self.domain = domain
        self._images = images
        self._store = store

    def repositories(self) -> list[str]:
        """Every repository's name, sorted."""
        return sorted({self._shown(name) for name in self._images.named()})

    def _shown(self, full: str) -> str:
        found = parse(full)
        return found.path if found.domain == self.domain else found.familiar_name

    def tags(self, name: str) -> list[str]:
        """A repository's tags, sorted. Raises Refused when there is no such repository."""
        places = self._places(name)
        entries = [parse(full) for full in self._images.named()]
        here = [entry for entry in entries if entry.name in places]
        if not here:
            raise Refused(404, "NAME_UNKNOWN", "repository name not known to registry")
        return sorted({entry.tag for entry in here if entry.tag and not entry.digest})

    async def manifest(self, name: str, which: str) -> tuple[Descriptor, bytes]:
        """A repository's manifest by tag or digest, and its bytes. Raises Refused."""
        known = self._images.named()
        for place in self._places(name):
            if found := known.get(f"{place}{'@' if ':' in which else ':'}{which}"):
                return found, await in_thread(self._store.read, found.digest, documents.MAX_MANIFEST)
        if DIGEST.fullmatch(which) and which in self.blobs(name):
            with suppress(EngineError):
                return await in_thread(self._read, which)
        raise Refused(404, "MANIFEST_UNKNOWN", "manifest unknown")

    def _read(self, digest: str) -> tuple[Descriptor, bytes]:
        """A manifest that no name stands for: one of an index. Raises NotFound, InvalidRequest for another blob."""
        data = self._store.read(digest, documents.MAX_MANIFEST)
        return Descriptor(documents.read_manifest(data).media_type, digest, len(data)), data

    def blobs(self, name: str) -> set[str]:
        """Every digest that the repository's images need. Raises Refused."""
        places = self._places(name)
        ids = {self._images.id_of(full) for full in self._images.named() if parse(full).name in places}
        return {digest for id in ids if id for digest in self._images.needs(id)}

    def _places(self, name: str) -> list[str]:
        """Where a repository's images are kept here: what was pushed to it, and what bears its name anyway."""
        if not re.fullmatch(NAME, name) or len(name) > _LONGEST_NAME:
            raise Refused(400, "NAME_INVALID", "invalid repository name")
        try:
            return [f"{self.domain}/{name}", parse(name).name]
        except InvalidRequest as error:
            raise Refused(400, "NAME_INVALID", error.message) from error
