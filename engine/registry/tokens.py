"""Bearer tokens, as Docker's registries give them out (distribution, docs/spec/auth/token.md and oauth.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from dosirak.engine.registry.errors import RegistryError, Unauthorized, Unreachable
from dosirak.engine.registry.transport import Transport, check_way, pieces

if TYPE_CHECKING:
    from dosirak.engine.registry.challenge import Challenge
    from dosirak.engine.registry.credentials import Credentials

_CLIENT = "docker"
_MAX_ANSWER = 256 << 10


async def fetch(
    transport: Transport,
    registry: str,
    challenge: Challenge,
    scopes: list[str],
    credentials: Credentials,
    insecure: bool,
) -> str:
    """A token for these scopes, from where the registry's challenge says. Without credentials an anonymous one.

    Raises Unauthorized, RegistryError, Unreachable (also for a realm that no credentials may go to).
    """
    realm = challenge.parameters.get("realm", "")
    check_way(registry, realm, insecure)
    wanted = list(dict.fromkeys([*scopes, *challenge.parameters.get("scope", "").split()]))
    service = challenge.parameters.get("service", "")
    if credentials.identity_token:
        form = {
            "grant_type": "refresh_token",
            "service": service,
            "client_id": _CLIENT,
            "scope": " ".join(wanted),
            "refresh_token": credentials.identity_token,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        asked = transport.request("POST", realm, insecure=insecure, headers=headers, data=urlencode(form).encode())
    else:
        pairs = [("service", service), *(("scope", scope) for scope in wanted)]
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(pairs)}"
        headers = {"Authorization": credentials.basic} if credentials.basic else {}
        asked = transport.request("GET", url, insecure=insecure, headers=headers)
    async with asked as answer:
        if answer.status == 401:
            raise Unauthorized("unauthorized: incorrect username or password")
        if answer.status != 200:
            raise RegistryError(
                answer.status, "", f"failed to fetch a token: received unexpected HTTP status: {answer.status}"
            )
        data = bytearray()
        async for piece in pieces(answer):
            data += piece
            if len(data) > _MAX_ANSWER:
                break
    try:
        document: Any = msgspec.json.decode(data)
        token = document.get("token") or document.get("access_token")
    except (msgspec.MsgspecError, AttributeError, RecursionError):
        token = None
    if not isinstance(token, str) or not token or not token.isprintable():
        raise Unreachable("authorization server did not include a token in the response")
    return token
