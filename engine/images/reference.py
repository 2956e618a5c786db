"""Names of images: the grammar of distribution/reference, with Docker's short forms and error texts.

    reference := [domain "/"] path [":" tag] ["@" digest]

"ubuntu" is short for "docker.io/library/ubuntu:latest". This is the one parser of the engine.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace

from dosirak.engine.errors import InvalidRequest

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_MAX_PATH = 255
# Nothing valid is longer; keeps a megabyte of letters away from the expression below.
_MAX_TEXT = 4096

_DOMAIN_PART = r"[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_PATH_PART}(?:/{_PATH_PART})*)(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?"
)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_ID = re.compile(r"(?:sha256:)?([a-f0-9]{1,64})")
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed name: `domain` ("docker.io"), `path` ("library/ubuntu"), `tag` and `digest` ("" if not given)."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return self.name + self._suffix

    @property
    def name(self) -> str:
        """Domain and path: "docker.io/library/ubuntu"."""
        # A first part like "a_b.c" looks like a domain and is none: then all is path.
        return f"{self.domain}/{self.path}" if self.domain else self.path

    @property
    def familiar_name(self) -> str:
        """Domain and path as people write them: "ubuntu", "ghcr.io/a/b"."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        return self.path if "/" in short else short

    @property
    def familiar(self) -> str:
        """The whole reference as people write it: "ubuntu:22.04"."""
        return self.familiar_name + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def tagged(self) -> Reference:
        """With the tag "latest" if it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> Reference:
    """Parses a name as people write it ("ubuntu", "ghcr.io/a/b:1", "x@sha256:…").

    Raises InvalidRequest, in Docker's words.
    """
    if _IDENTIFIER.fullmatch(text):
        raise InvalidRequest(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, rest = _split_domain(text)
    path = rest.partition(":")[0]
    if path.lower() != path:
        raise InvalidRequest(f"invalid reference format: repository name ({path[:_MAX_TEXT]}) must be lowercase")
    full = f"{domain}/{rest}"
    found = _REFERENCE.fullmatch(full) if len(full) <= _MAX_TEXT else None
    if found is None:
        if len(full) <= _MAX_TEXT and _REFERENCE.fullmatch(full.lower()):
            raise InvalidRequest("repository name must be lowercase")
        raise InvalidRequest("invalid reference format")
    if len(found["path"]) > _MAX_PATH:
        raise InvalidRequest(f"repository name must not be more than {_MAX_PATH} characters")
    if found["digest"]:
        _check_digest(found["digest"])
    return Reference(found["domain"] or "", found["path"], found["tag"] or "", found["digest"] or "")


def parse_id(text: str) -> str | None:
    """The hex digits of an image id or of the beginning of one ("sha256:" may stand before); None if it is none."""
    found = _ID.fullmatch(text)
    return found[1] if found else None


def is_full_id(text: str) -> bool:
    """Whether the text is a whole id ("sha256:<64 hex>" or 64 hex), which never is a name."""
    found = parse_id(text)
    return found is not None and len(found) == 64


def _split_domain(text: str) -> tuple[str, str]:
    """Docker's rule for the first part: a domain has a dot, a colon or an upper-case letter, or is "localhost"."""
    first, slash, rest = text.partition("/")
    if not slash:
        return DEFAULT_DOMAIN, _OFFICIAL + text
    if first == _LEGACY_DOMAIN:
        first = DEFAULT_DOMAIN
    elif not (first == "localhost" or "." in first or ":" in first or first.lower() != first):
        first, rest = DEFAULT_DOMAIN, text
    if first == DEFAULT_DOMAIN and "/" not in rest:
        rest = _OFFICIAL + rest
    return first, rest


def _check_digest(digest: str) -> None:
    """As opencontainers/go-digest checks it. Raises InvalidRequest in its words."""
    algorithm, _, encoded = digest.partition(":")
    length = _DIGEST_LENGTHS.get(algorithm)
    if length is None:
        raise InvalidRequest("unsupported digest algorithm")
    if len(encoded) != length:
        raise InvalidRequest("invalid checksum digest length")
    if encoded.lower() != encoded:
        raise InvalidRequest("invalid checksum digest format")
