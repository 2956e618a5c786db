"""Bearer tokens, as Docker's registries give them out (distribution, docs/spec/auth/token.md and oauth.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from dosirak.engine.registry.errors import RegistryError, Unauthorized, Unreachable, from_answer
from dosirak.engine.registry.transport import Transport, beginning, check_way

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    import aiohttp

    from dosirak.engine.registry.challenge import Challenge
    from dosirak.engine.registry.credentials import Credentials
    from dosirak.engine.registry.hosts import Endpoint

_CLIENT = "docker"
_MAX_ANSWER = 256 << 10


async def fetch(
    transport: Transport,
    registry: str,
    challenge: Challenge,
    scopes: list[str],
    credentials: Credentials,
    endpoint: Endpoint,
    *,
    offline: bool = False,
) -> tuple[str, str]:
    """A token for these scopes, from where the registry's challenge says, and an identity token if one came with it.

    Without credentials the token is an anonymous one. Parameters: `registry`: the URL that was asked; `offline`: ask
    for an identity token too (a login). Raises Unauthorized, RegistryError, Unreachable (also for a realm that no
    credentials may go to).
    """
    realm = challenge.parameters.get("realm", "")
    check_way(registry, realm, endpoint.insecure)
    wanted = list(dict.fromkeys([*scopes, *challenge.parameters.get("scope", "").split()]))
    service = challenge.parameters.get("service", "")
    if credentials.identity_token:
        asked = _by_identity(transport, realm, service, wanted, credentials, endpoint)
    else:
        asked = _by_password(transport, realm, service, wanted, credentials, endpoint, offline)
    async with asked as answer:
        data = await beginning(answer, _MAX_ANSWER)
        if answer.status != 200:
            raise _refused(registry, answer, data)
    return read(data)


def _by_identity(
    transport: Transport, realm: str, service: str, wanted: list[str], credentials: Credentials, endpoint: Endpoint
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    form = {
        "grant_type": "refresh_token",
        "service": service,
        "client_id": _CLIENT,
        "scope": " ".join(wanted),
        "refresh_token": credentials.identity_token,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    data = urlencode(form).encode()
    return transport.request("POST", realm, insecure=endpoint.insecure, headers=headers, data=data)


def _by_password(
    transport: Transport,
    realm: str,
    service: str,
    wanted: list[str],
    credentials: Credentials,
    endpoint: Endpoint,
    offline: bool,
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    pairs = [("service", service), *(("scope", scope) for scope in wanted)]
    if offline:
        pairs += [("offline_token", "true"), ("client_id", _CLIENT)]
    headers = {}
    if credentials.basic:
        pairs.append(("account", credentials.username))
        headers["Authorization"] = credentials.basic
    url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(pairs)}"
    return transport.request("GET", url, insecure=endpoint.insecure, headers=headers)


def _refused(registry: str, answer: aiohttp.ClientResponse, data: bytes) -> RegistryError | Unauthorized:
    error = from_answer(answer.status, data)
    if answer.status == 401:
        return Unauthorized(f'Get "{registry}": {error.message}')
    if error.code:
        return error
    return RegistryError(
        answer.status, "", f"failed to fetch a token: received unexpected HTTP status: {answer.status}"
    )


def read(data: bytes) -> tuple[str, str]:
    """The token and the identity token ("" without) in an answer. Raises Unreachable when there is no token."""
    try:
        document: Any = msgspec.json.decode(data)
        found = document.get("token") or document.get("access_token"), document.get("refresh_token") or ""
    except (msgspec.MsgspecError, UnicodeDecodeError, AttributeError, RecursionError):
        found = None, ""
    token, identity = (text if isinstance(text, str) and text.isprintable() else "" for text in found)
    if not token:
        raise Unreachable("authorization server did not include a token in the response")
    return token, identity
