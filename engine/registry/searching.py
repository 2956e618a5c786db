"""`docker search`: by the search of registries that have one (the Hub), else in the list of their repositories."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

from dosirak.engine.errors import InvalidRequest
from dosirak.engine.images import documents
from dosirak.engine.images.reference import parse
from dosirak.engine.registry import errors
from dosirak.engine.registry.connection import Connection
from dosirak.engine.registry.hosts import HUB
from dosirak.engine.registry.paging import pages
from dosirak.engine.state.filters import boolean, check_filters

if TYPE_CHECKING:
    from dosirak.engine.registry.credentials import Credentials
    from dosirak.engine.registry.hosts import Endpoint
    from dosirak.engine.registry.transport import Transport

HUB_SEARCH = "index.docker.io"
"""Searches for the Hub; it has no images."""
_DEFAULT, _MOST = 25, 100
_MOST_NAMES = 100_000
_NAME = re.compile(r"[a-z0-9][a-z0-9._/-]{0,254}")


class Hit(msgspec.Struct, frozen=True):
    """One repository that was found, as Docker's API tells it."""

    name: str = ""
    description: str = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _Hits(msgspec.Struct):
    results: list[Hit] | None = None


class _Catalog(msgspec.Struct):
    repositories: list[str] | None = None


def split(term: str) -> tuple[str, str]:
    """A search term's registry ("docker.io" if it names none) and what to look for. Raises InvalidRequest."""
    if "://" in term:
        raise InvalidRequest(f"invalid repository name: repository name ({term[:200]}) should not have a scheme")
    first, slash, rest = term.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return (HUB if first == HUB_SEARCH else first), rest
    return HUB, term


def limit_of(limit: int) -> int:
    """How many to find; 0 is Docker's default. Raises InvalidRequest."""
    if limit and not 1 <= limit <= _MOST:
        raise InvalidRequest(f"limit {limit} is outside the range of [1, {_MOST}]")
    return limit or _DEFAULT


def chosen(hits: Sequence[Hit], filters: Mapping[str, Sequence[str]]) -> list[Hit]:
    """Those that pass Docker's filters: is-official, stars, is-automated. Raises InvalidRequest."""
    check_filters(filters, ("is-automated", "is-official", "stars"))
    if boolean(filters, "is-automated", default=False):
        return []
    stars = max((_stars(text) for text in filters.get("stars", ())), default=0)
    official = boolean(filters, "is-official", default=False) if "is-official" in filters else None
    return [hit for hit in hits if hit.star_count >= stars and official in (None, hit.is_official)]


def _stars(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise InvalidRequest(f"invalid filter 'stars={text[:60]}'") from error


async def search(
    transport: Transport, endpoint: Endpoint, credentials: Credentials, domain: str, text: str, limit: int
) -> list[Hit]:
    """What a registry has for a text. Raises RegistryError, Unreachable, Unauthorized, InvalidRequest."""
    by_search = Connection(transport, endpoint, credentials, ["registry:catalog:search"])
    try:
        path = f"/v1/search?{urlencode({'q': text.removeprefix('library/'), 'n': limit})}"
        _, data = await by_search.get(path, documents.MAX_MANIFEST)
        hits = documents.decode(data, _Hits, "list of repositories").results or []
        return [msgspec.structs.replace(hit, is_automated=False) for hit in hits][:limit]
    except errors.RegistryError as error:
        if endpoint.host == HUB_SEARCH or error.http_status in (401, 403, 429):
            raise
    except InvalidRequest:
        pass  # a page for people, where there is no such search
    return await _in_catalog(transport, endpoint, credentials, domain, text, limit)


async def _in_catalog(
    transport: Transport, endpoint: Endpoint, credentials: Credentials, domain: str, text: str, limit: int
) -> list[Hit]:
    connection = Connection(transport, endpoint, credentials, ["registry:catalog:*"])
    found: list[str] = []
    count = 0
    async for page in pages(connection, "_catalog?n=1000"):
        names = documents.decode(page, _Catalog, "list of repositories").repositories or []
        count += len(names)
        found += [name for name in names if _NAME.fullmatch(name) and text.lower() in name]
        if count > _MOST_NAMES or len(found) >= limit:
            break
    return [_hit(domain, name) for name in found[:limit]]


def _hit(domain: str, name: str) -> Hit:
    if domain != HUB:
        return Hit(f"{domain}/{name}")
    return Hit(parse(f"{HUB}/{name}").familiar_name, is_official=name.startswith("library/"))
