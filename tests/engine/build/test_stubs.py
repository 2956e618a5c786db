"""Mount points made for a RUN step leave no trace in its layer; what the step made stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dosirak.engine.build.stubs import Stubs, find_stubs, remove_stubs
from dosirak.engine.build.workspace import Workspace, merged_view, opened
from dosirak.engine.runtime import inroot, privilege

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts overlays")

TARGETS = ["/proc", "/etc/hosts", "/etc/resolv.conf", "/a/b/c"]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    lower = tmp_path / "lower"
    (lower / "proc").mkdir(parents=True)
    (lower / "etc").mkdir()
    (lower / "etc/hosts").write_text("mine")
    return Workspace(tmp_path / "step", [os.fspath(lower)])


def before(workspace: Workspace) -> Stubs:
    with merged_view(workspace.lowers) as root:
        return find_stubs(root, TARGETS)


def mount_points(workspace: Workspace) -> None:
    """As the runtime makes them."""
    with workspace.merged() as root:
        os.close(inroot.make_file(root, "/etc/resolv.conf"))
        os.close(inroot.make_dirs(root, "/a/b/c"))


def after(workspace: Workspace, stubs: Stubs) -> list[str]:
    with opened(workspace.upper) as upper:
        remove_stubs(upper, stubs)
    return sorted(str(path.relative_to(workspace.upper)) for path in workspace.upper.rglob("*"))


def test_only_what_is_missing_is_a_stub(workspace: Workspace) -> None:
    stubs = before(workspace)
    assert set(stubs.missing) == {"etc/resolv.conf", "a", "a/b", "a/b/c"}
    assert [path for path, _ in stubs.touched] == ["etc"]


def test_step_that_does_nothing_leaves_nothing(workspace: Workspace) -> None:
    stubs = before(workspace)
    mount_points(workspace)
    assert after(workspace, stubs) == []
    assert workspace.unchanged


def test_what_the_step_made_there_stays(workspace: Workspace) -> None:
    stubs = before(workspace)
    mount_points(workspace)
    (workspace.upper / "a/b/own").write_text("x")
    (workspace.upper / "etc/new").write_text("x")
    assert after(workspace, stubs) == ["a", "a/b", "a/b/own", "etc", "etc/new"]


def test_directory_whose_mode_the_step_changed_stays(workspace: Workspace) -> None:
    stubs = before(workspace)
    mount_points(workspace)
    (workspace.upper / "etc").chmod(0o700)
    assert "etc" in after(workspace, stubs)


def test_directory_that_hides_the_one_below_stays(workspace: Workspace) -> None:
    stubs = before(workspace)
    mount_points(workspace)
    os.setxattr(workspace.upper / "etc", privilege.here().opaque, b"y")
    assert "etc" in after(workspace, stubs)


def test_link_in_place_of_a_mount_point_is_not_followed(workspace: Workspace, tmp_path: Path) -> None:
    stubs = before(workspace)
    mount_points(workspace)
    host = tmp_path / "host"
    (host / "b/c").mkdir(parents=True)
    os.rename(workspace.upper / "a", workspace.upper / "moved")
    (workspace.upper / "a").symlink_to(host)
    assert after(workspace, stubs) == ["a", "moved", "moved/b", "moved/b/c"]
    assert (host / "b/c").is_dir()


def test_changed_root_mode_is_a_change(workspace: Workspace) -> None:
    assert workspace.unchanged
    workspace.upper.chmod(0o711)
    assert not workspace.unchanged
