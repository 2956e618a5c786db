"""What the process may do: capability masks, ids, limits, descriptors, environment, signals."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.engines import Engine

from .conftest import Box, fields

DEFAULT = "00000000a80425fb"
NONE = "0" * 16
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def capabilities(status: dict[str, str]) -> tuple[str, ...]:
    return tuple(status[name] for name in SETS)


def test_root_has_dockers_fourteen_capabilities_and_none_to_inherit(box: Callable[..., Box]) -> None:
    assert capabilities(box().status()) == (NONE, DEFAULT, DEFAULT, DEFAULT, NONE)


def test_an_ordinary_user_has_none_but_the_bounding_set(box: Callable[..., Box]) -> None:
    status = box("--user", "user").status()
    assert capabilities(status) == (NONE, NONE, NONE, DEFAULT, NONE)
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["1000"] * 4
    assert set(status["Groups"].split()) == {"1000", "29"}


def test_a_further_process_has_the_same_sets(box: Callable[..., Box]) -> None:
    container = box()
    assert capabilities(fields(container.sh("cat /proc/self/status"))) == (NONE, DEFAULT, DEFAULT, DEFAULT, NONE)
    as_user = fields(container.sh("cat /proc/self/status", "--user", "1000"))
    assert capabilities(as_user) == (NONE, NONE, NONE, DEFAULT, NONE)


def test_a_build_step_has_the_same_sets(engine: Engine, busybox: str) -> None:
    script = f"FROM {busybox}\nRUN grep -E '^(Cap|NoNew)' /proc/self/status && ls -l /proc/self/fd | wc -l\n"
    said = engine.docker("build", "--no-cache", "-", stdin=script).stdout
    assert capabilities(fields(said)) == (NONE, DEFAULT, DEFAULT, DEFAULT, NONE)


def test_capabilities_are_dropped_and_added_as_asked(box: Callable[..., Box]) -> None:
    assert capabilities(box("--cap-drop", "ALL").status()) == (NONE,) * 5
    only = f"{1 << 13:016x}"  # NET_RAW
    assert capabilities(box("--cap-drop", "ALL", "--cap-add", "NET_RAW").status()) == (NONE, only, only, only, NONE)
    more = f"{int(DEFAULT, 16) | 1 << 12:016x}"  # NET_ADMIN
    assert box("--cap-add", "NET_ADMIN").status()["CapEff"] == more


def test_privileged_has_what_the_engine_has(box: Callable[..., Box]) -> None:
    ours = fields(Path("/proc/self/status").read_text())["CapBnd"]
    assert box("--privileged").status()["CapEff"] == ours


def test_an_unknown_capability_is_refused(engine: Engine, busybox: str) -> None:
    done = engine.docker("run", "--cap-add", "CAP_NONSENSE", busybox, "true", check=False)
    assert done.returncode == 125
    assert 'unknown capability: "CAP_NONSENSE"' in done.stderr


@pytest.mark.parametrize(("flags", "value"), [((), "0"), (("--security-opt", "no-new-privileges"), "1")])
def test_no_new_privileges_is_as_asked_for_every_process(
    box: Callable[..., Box], flags: tuple[str, ...], value: str
) -> None:
    container = box(*flags)
    assert container.status()["NoNewPrivs"] == value
    assert fields(container.sh("cat /proc/self/status"))["NoNewPrivs"] == value


def test_resource_limits_are_as_asked(box: Callable[..., Box]) -> None:
    limits = (box("--ulimit", "nofile=100:200", "--ulimit", "core=0").proc / "limits").read_text()
    rows = {line[:26].strip(): line[26:].split() for line in limits.splitlines()}
    assert rows["Max open files"][:2] == ["100", "200"]
    assert rows["Max core file size"][:2] == ["0", "0"]


def test_there_are_three_descriptors_and_no_more(box: Callable[..., Box]) -> None:
    container = box()
    assert sorted(os.listdir(container.proc / "fd")) == ["0", "1", "2"]
    # 3 is the directory that ls reads.
    assert container.sh("ls /proc/self/fd").split() == ["0", "1", "2", "3"]


def test_the_environment_is_the_images_and_nothing_of_the_engines(box: Callable[..., Box]) -> None:
    container = box("-e", "ASKED=for this")
    environment = dict(
        entry.split("=", 1) for entry in (container.proc / "environ").read_text().strip("\0").split("\0")
    )
    assert environment == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME": container.id[:12],
        "HOME": "/root",
        "ASKED": "for this",
    }


def test_signals_and_the_file_mask_are_at_their_defaults(box: Callable[..., Box]) -> None:
    # Python ignores SIGPIPE, and what a parent ignores its children inherit.
    status = box().status()
    assert status["SigBlk"] == status["SigIgn"] == "0" * 16
    assert status["Umask"] == "0022"


def test_the_first_process_leads_a_session_without_the_engines_terminal(box: Callable[..., Box]) -> None:
    stat = (box().proc / "stat").read_text().rpartition(")")[2].split()
    assert stat[4] == "0"  # tty_nr, proc(5)


def test_its_own_terminal_is_on_its_own_devpts(box: Callable[..., Box]) -> None:
    container = box("-t")
    assert (container.proc / "fd/0").readlink().as_posix() == "/dev/pts/0"
    assert os.stat(container.proc / "fd/0").st_dev == os.stat(container.proc / "root/dev/pts").st_dev
    assert os.stat(container.proc / "root/dev/pts").st_dev != os.stat("/dev/pts").st_dev


def test_the_process_is_as_likely_to_be_killed_as_any(box: Callable[..., Box]) -> None:
    assert (box().proc / "oom_score_adj").read_text().strip() == "0"
