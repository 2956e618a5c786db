"""Filters asked for at one moment."""

from __future__ import annotations

import subprocess
import sys

FIRST_CONTAINERS = """
import asyncio, pathlib, sys
from dosirak.engine.containers import HostConfig
from dosirak.engine.containers.security import Confinement
from dosirak.engine.runtime.defaults import DEFAULT_CAPABILITIES

async def main():
    confinement = Confinement(pathlib.Path(sys.argv[1]), supported=True)
    sets = (DEFAULT_CAPABILITIES[:count] for count in range(4))
    assert all(await asyncio.gather(*(confinement.choose(HostConfig(), "", chosen) for chosen in sets)))

sys.setswitchinterval(1e-6)
asyncio.run(main())
"""


def test_a_new_service_s_first_containers_may_ask_all_at_once(tmp_path):
    """In threads of their own: msgspec has crashed the whole service there, one time in six."""
    for number in range(5):
        done = subprocess.run([sys.executable, "-c", FIRST_CONTAINERS, tmp_path / str(number)], capture_output=True)
        assert done.returncode == 0, (done.returncode, done.stderr.decode())
