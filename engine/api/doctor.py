"""`/dosirak/doctor`: what this host allows, as it is seen from where the service stands."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

from dosirak.engine.api import reply
from dosirak.engine.api.router import Route
from dosirak.engine.errors import HostLimit

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call


async def doctor(call: Call) -> StreamResponse:
    """`GET /dosirak/doctor`: the findings. The service itself tries nothing: it has threads."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "dosirak.engine.doctor"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "DOSIRAK_ROOT": str(call.rooms.settings.data)},
    )
    try:
        said, _ = await process.communicate()
    except BaseException:
        process.kill()
        raise
    try:
        return reply.json(json.loads(said))
    except ValueError as error:
        raise HostLimit("the doctor ended without a word") from error


ROUTES = (Route("GET", "/dosirak/doctor", doctor),)
