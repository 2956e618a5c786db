"""Mount options that only this command line has: tmpcopyup, a read-only /dev."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dosirak.engine.oci import state
from support.rootfs import make_root

if TYPE_CHECKING:
    from conftest import Runtime


def _with(*entries: dict[str, Any]) -> Any:
    def change(document: dict[str, Any]) -> None:
        places = {entry["destination"] for entry in entries}
        document["mounts"] = [one for one in document["mounts"] if one["destination"] not in places] + list(entries)

    return change


def test_a_tmpfs_begins_with_what_it_covers(runtime: Runtime) -> None:
    script = "cat /full/a /full/b/c; readlink /full/l; stat -c '%a %u' /full/a /full/b; touch /full/new"
    options = ["tmpcopyup", "size=1m"]
    bundle = runtime.bundle(
        "sh", "-c", script, change=_with({"destination": "/full", "type": "tmpfs", "source": "x", "options": options})
    )
    root = bundle / "rootfs"
    root.unlink()
    make_root(root)
    (root / "full/b").mkdir(parents=True)
    (root / "full/a").write_text("a\n")
    (root / "full/a").chmod(0o640)
    (root / "full/b/c").write_text("c\n")
    (root / "full/l").symlink_to("/etc/shadow")
    done = runtime("run", "--bundle", bundle, runtime.name())
    assert done.stdout.split()[:7] == ["a", "c", "/etc/shadow", "640", "0", "755", "0"]
    assert not (root / "full/new").exists()


def test_a_link_in_what_is_copied_leads_nowhere(runtime: Runtime) -> None:
    # The root is the image's: it must not have a file of the host copied into its sight.
    secret = runtime.folder / "secret"
    secret.write_text("the host's\n")
    options = ["tmpcopyup"]
    bundle = runtime.bundle(
        "sh",
        "-c",
        "cat /full/l/secret; ls -d /full/l/secret",
        change=_with({"destination": "/full", "type": "tmpfs", "source": "x", "options": options}),
    )
    root = bundle / "rootfs"
    root.unlink()
    make_root(root)
    (root / "full").mkdir()
    (root / "full/l").symlink_to(runtime.folder)
    done = runtime("run", "--bundle", bundle, runtime.name(), fails=True)
    assert done.returncode != 0
    assert "the host's" not in done.stdout


def test_a_read_only_dev_has_all_that_belongs_there(runtime: Runtime) -> None:
    options = ["nosuid", "strictatime", "mode=755", "size=65536k", "ro"]
    first = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": options}

    def change(document: dict[str, Any]) -> None:
        document["mounts"] = [first if one["destination"] == "/dev" else one for one in document["mounts"]]

    script = "echo x > /dev/null && ls /dev/pts/ptmx && touch /dev/shm/x && ! touch /dev/x"
    done = runtime("run", "--bundle", runtime.bundle("sh", "-c", script, change=change), runtime.name())
    assert "Read-only" in done.stderr


def test_options_may_come_after_the_name(runtime: Runtime) -> None:
    name = runtime.name()
    pid = runtime.folder / "pid"
    runtime("create", name, "--bundle", runtime.bundle("sleep", "1000"), "--pid-file", pid)
    runtime("update", name, "--pids-limit", "77")
    runtime("kill", name, "KILL", "--all")
    runtime("delete", name, "--force")
    assert state.start_time(int(pid.read_text())) == 0
