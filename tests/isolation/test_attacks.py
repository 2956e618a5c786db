"""A few of the known ways out, tried."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.engines import Engine
from support.rootfs import changed_root

HOST_IMAGE = "dosirak/host"

CHROOT_ESCAPE = """
import os
os.mkdir("/tmp/hole")
os.chroot("/tmp/hole")
for _ in range(64):
    os.chdir("..")
os.chroot(".")
print(sorted(os.listdir("/")))
"""


def test_the_classic_way_out_of_a_chroot_ends_in_the_containers_own_root(engine: Engine, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    own = engine.docker("run", "--rm", HOST_IMAGE, "python3", "-c", "import os; print(sorted(os.listdir('/')))").stdout
    escaped = engine.docker("run", "--rm", HOST_IMAGE, "python3", "-c", CHROOT_ESCAPE).stdout
    assert escaped == own
    done = engine.docker("run", "--rm", HOST_IMAGE, "ls", tmp_path, check=False)
    assert done.returncode != 0
    # The control: chroot(2) alone is no wall.
    (tmp_path / "jail/tmp").mkdir(parents=True)
    jailed = f"import os; os.chroot({str(tmp_path / 'jail')!r}); os.chdir('/')\n{CHROOT_ESCAPE}"
    free = subprocess.run([sys.executable, "-c", jailed], capture_output=True, text=True, check=True).stdout
    assert free == f"{sorted(os.listdir('/'))}\n"


@pytest.mark.parametrize("number", [*range(3, 12), "/self"])
def test_no_working_directory_leads_through_a_descriptor_of_the_engines(
    engine: Engine, busybox: str, number: int | str
) -> None:
    # CVE-2024-21626: a working directory of /proc/self/fd/N that is still open at the time of chdir(2).
    done = engine.docker("run", "--rm", "-w", f"/proc/self/fd/{number}", busybox, "sh", "-c", "pwd; ls", check=False)
    assert done.returncode != 0
    assert "etc" not in done.stdout


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_an_image_whose_kernel_directory_is_a_link_gets_no_file_system_elsewhere(
    engine: Engine, name: str, tmp_path: Path
) -> None:
    # CVE-2019-19921, CVE-2023-28642: /proc as a symbolic link to a place that the attacker chose.
    marker = tmp_path / "marker"
    marker.write_text("untouched")
    engine.docker("import", "-", "evil", stdin=changed_root(links={name: str(tmp_path)}), text=False)
    done = engine.docker("run", "--rm", "evil", "/bin/sh", "-c", "mount; ls -la /", check=False)
    assert marker.read_text() == "untouched"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["marker"]
    if done.returncode == 0:
        assert str(tmp_path) not in done.stdout
    engine.docker("rmi", "-f", "evil")


def test_groups_and_users_of_the_image_can_not_overflow_into_root(engine: Engine) -> None:
    # CVE-2026-46680 and kin: ids that do not fit make no user, and surely not user 0.
    users = b"evil:x:4294967296:0::/:/bin/sh\nworse:x:-1:0::/:/bin/sh\nfine:x:7:7::/:/bin/sh\n"
    engine.docker("import", "-", "crafted", stdin=changed_root(files={"etc/passwd": users}), text=False)
    for user in ("evil", "worse", "4294967296", "-1", "99999999999999999999"):
        done = engine.docker("run", "--rm", "--user", user, "crafted", "/bin/id", "-u", check=False)
        assert done.returncode != 0, user
        assert done.stdout == "", user
    assert engine.docker("run", "--rm", "--user", "fine", "crafted", "/bin/id", "-u").stdout == "7\n"
    engine.docker("rmi", "-f", "crafted")
