"""Who shares which view: inode numbers of namespaces, as the kernel has them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from support.engines import Engine, wait_for

from .conftest import Box, namespaces

OWN = {"cgroup", "ipc", "mnt", "net", "pid", "time", "uts"}
SHARED = {"user"}


def shared(one: dict[str, int], other: dict[str, int]) -> set[str]:
    return {kind for kind in one if one[kind] == other[kind]}


def test_a_container_has_seven_namespaces_of_its_own(box: Callable[..., Box]) -> None:
    assert shared(box().namespaces(), namespaces("self")) == SHARED


def test_two_containers_share_nothing_that_is_their_own(box: Callable[..., Box]) -> None:
    assert shared(box().namespaces(), box().namespaces()) == SHARED


def test_a_further_process_is_in_the_namespaces_of_its_container(box: Callable[..., Box]) -> None:
    container = box()
    seen = container.sh("cd /proc/self/ns; for n in *; do echo $n $(readlink $n); done")
    inside = dict(line.split() for line in seen.splitlines())
    for kind, inode in container.namespaces().items():
        assert inside[kind] == f"{kind}:[{inode}]"


def test_no_network_means_a_network_namespace_with_loopback_alone(box: Callable[..., Box]) -> None:
    container = box("--network", "none")
    assert shared(container.namespaces(), namespaces("self")) == SHARED
    assert container.sh("ls /sys/class/net") == "lo"


def test_the_host_network_is_shared_and_nothing_else(box: Callable[..., Box]) -> None:
    container = box("--network", "host")
    assert shared(container.namespaces(), namespaces("self")) == SHARED | {"net"}
    # Other tests make and remove links meanwhile; one's own network would never show the host's.
    wait_for(lambda: container.sh("ls /sys/class/net").split() == sorted(os.listdir("/sys/class/net")), 20)


def test_a_container_may_join_the_network_of_another(box: Callable[..., Box]) -> None:
    first = box()
    second = box("--network", f"container:{first.id}")
    assert shared(first.namespaces(), second.namespaces()) == SHARED | {"net"}


def test_the_process_is_number_one_and_sees_no_other(box: Callable[..., Box]) -> None:
    container = box()
    assert container.sh("tr '\\0' ' ' < /proc/1/cmdline") == "sleep 600 "
    visible = container.sh("cd /proc; echo [0-9]*").split()
    assert len(visible) == 2  # itself and the shell that looks
    assert str(os.getpid()) not in visible


def test_the_hostname_is_its_own(box: Callable[..., Box]) -> None:
    before = socket.gethostname()
    container = box("--hostname", "lunchbox")
    assert container.sh("hostname") == "lunchbox"
    assert box().sh("hostname") != before
    assert socket.gethostname() == before


def test_the_default_hostname_is_the_short_id(box: Callable[..., Box]) -> None:
    container = box()
    assert container.sh("hostname") == container.id[:12]


def test_the_control_group_seems_to_be_the_root(box: Callable[..., Box]) -> None:
    lines = box().sh("cat /proc/self/cgroup").splitlines()
    assert lines
    assert {line.split(":", 2)[2] for line in lines} == {"/"}


def test_an_abstract_socket_of_the_host_can_not_be_reached(box: Callable[..., Box], engine: Engine) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0dosirak-test-abstract")
        listener.listen()
        # Abstract names belong to the network namespace (CVE-2020-15257).
        assert "dosirak-test-abstract" in Path("/proc/net/unix").read_text()
        assert "dosirak-test-abstract" not in box().sh("cat /proc/net/unix")
        assert "dosirak-test-abstract" in box("--network", "host").sh("cat /proc/net/unix")  # the control


def test_its_clocks_are_set_off_as_asked_and_for_every_process(box: Callable[..., Box]) -> None:
    def uptime(text: str) -> float:
        return float(text.split()[0])

    shifted = box("--annotation", "dosirak.time-offset=boottime=8640000")
    host = uptime(Path("/proc/uptime").read_text())
    assert 8640000 <= uptime(shifted.sh("cat /proc/uptime")) - host < 8640000 + 60
    usual = box()
    assert abs(uptime(usual.sh("cat /proc/uptime")) - uptime(Path("/proc/uptime").read_text())) < 60


def test_an_impossible_offset_is_refused(engine: Engine, busybox: str) -> None:
    for text in ("soon", "realtime=5", "boottime=", "1.5"):
        done = engine.docker("create", "--annotation", f"dosirak.time-offset={text}", busybox, check=False)
        assert f'invalid time offset "{text}"' in done.stderr
