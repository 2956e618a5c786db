"""`--pid`, `--ipc`, `--uts`, `--net`, `--cgroupns`: what is shared, by the kernel's word, and what is refused."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.engines import Engine, wait_for

from .conftest import Box, namespaces
from .test_namespaces import SHARED, shared

HOSTS: list[tuple[tuple[str, ...], set[str]]] = [
    (("--pid", "host"), {"pid"}),
    (("--ipc", "host"), {"ipc"}),
    (("--uts", "host"), {"uts"}),
    (("--network", "host"), {"net"}),
    (("--cgroupns", "host"), {"cgroup"}),
    (("--userns", "host"), set()),
    (("--ipc", "private", "--cgroupns", "private", "--network", "none"), set()),
    (("--ipc", "none"), set()),
    (("--ipc", "shareable"), set()),
    (("--pid", "host", "--ipc", "host", "--uts", "host", "--network", "host"), {"pid", "ipc", "uts", "net"}),
]


def test_what_is_the_hosts_is_as_asked(box: Callable[..., Box]) -> None:
    for flags, expected in HOSTS:
        container = box(*flags)
        assert shared(container.namespaces(), namespaces("self")) == SHARED | expected, flags
        # A further process is where the first one is.
        seen = container.sh("cd /proc/self/ns; for n in *; do echo $n $(readlink $n); done")
        inside = dict(line.split() for line in seen.splitlines())
        assert {kind: inside[kind] for kind in container.namespaces()} == {
            kind: f"{kind}:[{number}]" for kind, number in container.namespaces().items()
        }, flags


def test_what_is_another_containers_is_as_asked(box: Callable[..., Box]) -> None:
    first = box("--name", "first", "--ipc", "shareable", "--hostname", "donor")
    for flags, expected in (
        (("--pid", "container:first"), {"pid"}),
        (("--ipc", "container:first"), {"ipc"}),
        (("--network", "container:first"), {"net"}),
        (
            ("--network", "container:first", "--ipc", "container:first", "--pid", "container:first"),
            {"net", "ipc", "pid"},
        ),
    ):
        second = box(*flags)
        assert shared(second.namespaces(), first.namespaces()) == SHARED | expected, flags
        third = (
            box(*(flag.replace("first", second.id) for flag in flags), "--ipc", "private")
            if "pid" in expected
            else None
        )
        if third is not None:  # a chain
            assert third.namespaces()["pid"] == first.namespaces()["pid"]


def test_a_shared_ipc_namespace_comes_with_its_shared_memory(box: Callable[..., Box]) -> None:
    first = box("--ipc", "shareable", "--shm-size", "4m")
    second = box("--ipc", f"container:{first.id}")
    first.sh("echo 1 > /dev/shm/both")
    assert second.sh("cat /dev/shm/both; df -k /dev/shm | tail -1 | awk '{print $2}'").split() == ["1", "4096"]
    assert box("--ipc", "none").sh("grep -c /dev/shm /proc/mounts; true") == "0"


def test_another_containers_processes_are_seen_and_its_names_are_its_own(box: Callable[..., Box]) -> None:
    first = box("--name", "first", "--hostname", "donor")
    second = box("--pid", "container:first")
    assert "sleep 600" in second.sh("tr '\\0' ' ' < /proc/1/cmdline")
    assert second.sh("hostname") == second.id[:12]
    net = box("--network", "container:first")
    assert net.sh("cat /etc/hostname /etc/hosts") == first.sh("cat /etc/hostname /etc/hosts")
    assert first.sh("ls /sys/class/net") == net.sh("ls /sys/class/net")


def test_the_hosts_names_and_processes_are_seen_where_asked(box: Callable[..., Box]) -> None:
    assert box("--uts", "host").sh("hostname") == socket.gethostname()
    assert box("--pid", "host").sh(f"cat /proc/{os.getpid()}/comm; true") == Path("/proc/self/comm").read_text().strip()
    assert "/dosirak/" in box("--cgroupns", "host").sh("cat /proc/self/cgroup")


def test_who_joins_is_told_why_that_can_not_be(engine: Engine, busybox: str, box: Callable[..., Box]) -> None:
    docker = engine.docker
    private = box("--name", "private")
    stopped = docker("create", "--name", "stopped", "--ipc", "shareable", busybox, "sleep", "600").stdout.strip()
    gone = "is not running"
    for flags, words in (
        (
            ("--network", "container:stopped"),
            "cannot join network namespace of a non running container: container stopped is created",
        ),
        (("--ipc", "container:stopped"), f"container {stopped} {gone}"),
        (("--pid", "container:stopped"), f"container {stopped} {gone}"),
        (("--ipc", "container:private"), f"container {private.id}: non-shareable IPC (hint: use IpcMode:shareable"),
        (("--network", "container:nosuch"), "joining network namespace of container: No such container: nosuch"),
        (("--pid", "container:nosuch"), "No such container: nosuch"),
        (("--ipc", "container:nosuch"), "No such container: nosuch"),
        (("--network", "container:own", "--name", "own"), "cannot join own network namespace"),
    ):
        done = docker("run", "-d", *flags, busybox, "true", check=False)
        assert done.returncode == 125
        assert words in done.stderr, (flags, done.stderr)


def test_the_network_of_a_container_to_come_may_be_joined(engine: Engine, busybox: str) -> None:
    engine.docker("create", "--name", "second", "--network", "container:first", busybox, "sleep", "600")
    first = engine.docker("run", "-d", "--name", "first", busybox, "sleep", "600").stdout.strip()
    engine.docker("start", "second")
    assert Box(engine, "second").namespaces()["net"] == Box(engine, first).namespaces()["net"]


def test_two_that_would_join_each_other_can_not_start(engine: Engine, busybox: str) -> None:
    engine.docker("create", "--name", "one", "--network", "container:two", busybox, "sleep", "600")
    engine.docker("create", "--name", "two", "--network", "container:one", busybox, "sleep", "600")
    for name, other in (("one", "two"), ("two", "one")):
        done = engine.docker("start", name, check=False)
        assert f"a non running container: container {other} is created" in done.stderr


def test_a_restart_joins_what_the_other_has_by_then(engine: Engine, box: Callable[..., Box]) -> None:
    first = box("--name", "first", "--ipc", "shareable")
    second = box("--network", "container:first", "--ipc", "container:first")
    before = first.namespaces()
    engine.docker("restart", "-t", "0", first.id)
    assert first.namespaces()["net"] != before["net"]
    assert second.namespaces()["net"] == before["net"]  # as in Docker: it stays where it is
    engine.docker("restart", "-t", "0", second.id)
    assert shared(second.namespaces(), first.namespaces()) == SHARED | {"net", "ipc"}
    engine.docker("rename", "first", "other")
    engine.docker("restart", "-t", "0", second.id)
    assert second.namespaces()["net"] == first.namespaces()["net"]
    engine.docker("stop", "-t", "0", first.id)
    done = engine.docker("restart", "-t", "0", second.id, check=False)
    assert "container other is exited" in done.stderr
    # A killed one is told as it is, too.
    engine.docker("start", first.id)
    engine.docker("start", second.id)
    wait_for(lambda: second.pid != 0, 20)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--network", "container:x", "--hostname", "a"), "conflicting options: hostname and the network mode"),
        (
            ("--network", "container:x", "-p", "80:80"),
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            ("--network", "container:x", "--link", "y"),
            "conflicting options: container type network can't be used with links",
        ),
        (("--network", "host", "--link", "y"), "conflicting options: host type networking can't be used with links"),
        (("--network", "container:x", "--dns", "1.1.1.1"), "conflicting options: dns and the network mode"),
        (("--uts", "host", "--hostname", "a"), "conflicting options: hostname and the UTS mode"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    engine: Engine, busybox: str, flags: tuple[str, ...], words: str
) -> None:
    done = engine.docker("create", *flags, busybox, check=False)
    assert words in done.stderr


def test_a_restart_by_policy_joins_what_the_other_has_by_then(
    engine: Engine, busybox: str, box: Callable[..., Box]
) -> None:
    first = box("--name", "first")
    second = box("--network", "container:first", "--restart", "always", "--name", "second")
    engine.docker("restart", "-t", "0", "first")
    stale = second.pid
    os.kill(stale, 9)
    wait_for(lambda: second.pid not in (0, stale), 30)
    assert second.namespaces()["net"] == first.namespaces()["net"]
    assert second.engine.client.api.inspect_container("second")["RestartCount"] == 1
    # As in Docker: with nothing to join it stays down, and says why.
    engine.docker("stop", "-t", "0", "first")
    os.kill(second.pid, 9)
    state = lambda: second.engine.client.api.inspect_container("second")["State"]  # noqa: E731
    wait_for(lambda: "container first is exited" in state()["Error"], 30)
    assert not state()["Running"]
    engine.docker("start", "first", "second")
    engine.docker("stop", "-t", "0", "second")
    assert not state()["Running"]


def test_one_that_ends_again_and_again_can_be_stopped(engine: Engine, busybox: str, box: Callable[..., Box]) -> None:
    box("--name", "first")
    engine.docker(
        "run", "-d", "--name", "second", "--network", "container:first", "--restart", "always", busybox, "false"
    )

    def seen() -> int:
        return int(engine.client.api.inspect_container("second")["RestartCount"])

    wait_for(lambda: seen() >= 3, 30)
    engine.docker("stop", "-t", "0", "second", check=False)
    wait_for(lambda: not engine.client.api.inspect_container("second")["State"]["Running"], 20)
    counted = seen()
    time.sleep(2)
    assert seen() - counted <= 1
