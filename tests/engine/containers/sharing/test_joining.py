"""Where a user namespace can't be made, the start is refused with the reason, and no descriptor stays open."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from dosirak.engine.containers.sharing import joining
from dosirak.engine.containers.sharing.ids import IdMap
from dosirak.engine.errors import HostLimit

MAPS = [IdMap(0, 0x70000000, 1000)]


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(os.geteuid() != 0, reason="maps ids that only root may map")
async def test_a_user_namespace_and_its_network_are_handed_over() -> None:
    user, network = await joining._make_user(MAPS, None)
    try:
        again = await joining._make_user(MAPS, user)
        assert os.fstat(again[0]).st_ino == os.fstat(user).st_ino
        assert os.fstat(again[1]).st_ino != os.fstat(network).st_ino
        assert not any(os.get_inheritable(fd) for fd in (user, network, *again))
        for fd in again:
            os.close(fd)
    finally:
        os.close(user)
        os.close(network)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "no such file or directory"),
        ("#!/bin/sh\nexit 3\n", "it ended with 3"),
        ("#!/bin/sh\nexit 0\n", "no answer"),
        ("#!/bin/sh\necho one; echo 'OSError: two' >&2; exit 1\n", "OSError: two"),
        # It hands over what is half of the answer, and fails afterwards.
        (
            "#!{python}\nimport socket, sys\nanswer = socket.socket(fileno=int(sys.argv[-2]))\n"
            "socket.send_fds(answer, [b'!'], [0, 1])\nsys.exit('late')\n",
            "late",
        ),
    ],
)
async def test_one_that_can_not_be_made_is_a_limit_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str | None, reason: str
) -> None:
    program = tmp_path / "python"
    if body is not None:
        program.write_text(body.replace("{python}", sys.executable))
        program.chmod(0o755)
    await asyncio.sleep(0)  # the loop has its own descriptors by now
    # asyncio's watcher of children keeps one from its first use on.
    await (await asyncio.create_subprocess_exec("/bin/true")).wait()
    before = descriptors()
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(HostLimit, match=reason):
        await joining._make_user(MAPS, None)
    await asyncio.sleep(0.05)  # a child's pidfd is closed by the loop
    assert descriptors() <= before
