"""linux.namespaces of the document: which are made, which joined, and what the parent has to do."""

from __future__ import annotations

import os

import pytest

from dosirak.engine.runtime import defaults
from dosirak.engine.runtime.namespaces import Namespaces


def entries(*kinds: str) -> list[dict[str, str]]:
    return [{"type": kind} for kind in kinds]


def test_the_usual_ones_are_made_by_clone_but_for_the_cgroups() -> None:
    spaces = Namespaces(entries(*defaults.NAMESPACES), {})
    assert spaces.new == list(defaults.NAMESPACES)
    assert (spaces.joined, spaces.opened) == ({}, [])
    # CLONE_NEWNS, UTS, IPC, PID, NET: linux/sched.h
    assert spaces.clone_flags() == 0x20000 | 0x4000000 | 0x8000000 | 0x20000000 | 0x40000000


def test_a_descriptor_stands_in_for_an_entry() -> None:
    spaces = Namespaces([*entries("mount"), {"type": "network", "path": "/no/such/file"}], {"network": 7})
    assert (spaces.new, spaces.joined, spaces.opened) == (["mount"], {"network": 7}, [])


def test_a_path_is_opened() -> None:
    spaces = Namespaces([{"type": "uts", "path": "/proc/self/ns/uts"}, *entries("user")], {})
    assert (spaces.new, list(spaces.joined), spaces.opened) == (["user"], ["uts"], list(spaces.joined.values()))
    assert not os.get_inheritable(spaces.joined["uts"])
    assert os.readlink(f"/proc/self/fd/{spaces.joined['uts']}") == os.readlink("/proc/self/ns/uts")
    assert spaces.clone_flags() == 0
    os.close(spaces.joined["uts"])
    with pytest.raises(FileNotFoundError):
        Namespaces([{"type": "uts", "path": "/no/such/file"}], {})


def test_user_time_and_cgroup_are_no_flags_of_clone() -> None:
    assert Namespaces(entries("time", "cgroup", "user"), {}).clone_flags() == 0


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(KeyError):
        Namespaces(entries("moon"), {}).clone_flags()
