"""RUN has the walls of a container."""

from __future__ import annotations

import os
import re

from dosirak.engine.build import model
from dosirak.engine.errors import NotFound

from .conftest import Rig


async def test_run_has_the_walls_of_a_container(rig: Rig) -> None:
    built = await rig.build(
        "FROM busybox\n"
        "RUN grep -E '^(Cap|NoNewPrivs)' /proc/self/status\n"
        "RUN for n in mnt net pid uts ipc cgroup; do readlink /proc/self/ns/$n; done; ls /proc/self/fd\n"
        "RUN echo b > /proc/sysrq-trigger || echo refused; cat /proc/kcore | head -c 10\n"
    )
    assert "CapEff:\t00000000a80425fb" in built.output and "CapAmb:\t0000000000000000" in built.output
    inside = set(re.findall(r"\w+:\[\d+\]", built.output))
    outside = {os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "net", "pid", "uts", "ipc", "cgroup")}
    assert len(inside) == 6 and not inside & outside
    assert "refused" in built.output


async def test_workdir_on_a_leaked_descriptor_leads_nowhere(rig: Rig) -> None:
    for fd in range(3, 20):
        text = f"FROM busybox\nWORKDIR /proc/self/fd/{fd}\nRUN cd ../../../..; ls; cat etc/shadow\n"
        built = await rig.try_build(text)
        assert "root:" not in built.output, fd


async def test_network_none_has_a_loopback_only(rig: Rig) -> None:
    built = await rig.build("FROM busybox\nRUN --network=none ls /sys/class/net\n")
    assert built.output == "lo\n"


async def test_network_and_hosts_are_the_callers_choice(rig: Rig) -> None:
    built = await rig.build("FROM busybox\nRUN readlink /proc/self/ns/net\n", network="host")
    assert built.output.strip() == os.readlink("/proc/self/ns/net")
    built = await rig.build("FROM busybox\nRUN grep added /etc/hosts\n", extra_hosts=("added:192.0.2.7",))
    assert built.output.split() == ["192.0.2.7", "added"]
    assert isinstance(await rig.error("FROM busybox\nRUN true\n", network="nosuch"), NotFound)


async def test_limits_hold_for_run(rig: Rig) -> None:
    limits = model.Limits(memory=64 << 20, ulimits=(("nofile", 77, 77),), shm_size=1 << 20)
    built = await rig.build("FROM busybox\nRUN ulimit -n; df -k /dev/shm | tail -1 | awk '{print $2}'\n", limits=limits)
    assert built.output == "77\n1024\n"
