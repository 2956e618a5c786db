"""States: what makes two steps the same work."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dosirak.engine.build import states
from dosirak.engine.build.dockerfile.mounts import Mount
from dosirak.engine.build.graph import Base, Context, CopyFiles, Execute

RUN = Execute(Base(""), ("sh", "-c", "x"), ("A=1",), ("http_proxy=p",))


@pytest.mark.parametrize(
    "other",
    [
        replace(RUN, argv=("sh", "-c", "y")),
        replace(RUN, argv=("sh", "-c x")),
        replace(RUN, env=("A=2",)),
        replace(RUN, cwd="/w"),
        replace(RUN, user="me"),
        replace(RUN, network="none"),
        replace(RUN, script=("s", "#!/bin/sh")),
        replace(RUN, mounts=((Mount(kind="tmpfs", target="/t"), None),)),
    ],
)
def test_run_that_differs_in_anything_is_other_work(other: Execute) -> None:
    assert states.run_state(other, "p", (), ()) != states.run_state(RUN, "p", (), ())


def test_run_on_another_parent_mount_or_host_entry_is_other_work() -> None:
    names = {
        states.run_state(RUN, "p", (), ()),
        states.run_state(RUN, "q", (), ()),
        states.run_state(RUN, "p", ("m",), ()),
        states.run_state(RUN, "p", (), ("h:1.2.3.4",)),
    }
    assert len(names) == 4


def test_proxy_and_vertex_identity_do_not_matter() -> None:
    same = replace(RUN, transparent=(), parent=Base("other"))
    assert states.run_state(same, "p", (), ()) == states.run_state(RUN, "p", (), ())


COPY = CopyFiles(Base(""), Context(), ("a",), (), "/d", "COPY")


def test_copy_is_what_is_copied_not_where_it_was() -> None:
    moved = replace(COPY, paths=("other/a",), source=Base("x"))
    assert states.copy_state(moved, "p", "sum") == states.copy_state(COPY, "p", "sum")
    for other in (replace(COPY, destination="/d/"), replace(COPY, chown="1"), replace(COPY, unpack=True)):
        assert states.copy_state(other, "p", "sum") != states.copy_state(COPY, "p", "sum")
    assert states.copy_state(COPY, "p", "other sum") != states.copy_state(COPY, "p", "sum")


def test_shortcut_names_the_source_and_its_paths() -> None:
    keys = {
        states.copy_shortcut(COPY, "p", "s"),
        states.copy_shortcut(COPY, "p", "t"),
        states.copy_shortcut(replace(COPY, paths=("b",)), "p", "s"),
        states.copy_state(COPY, "p", "s"),
    }
    assert len(keys) == 4
