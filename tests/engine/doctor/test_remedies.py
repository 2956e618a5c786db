"""The doctor's commands, run as they stand by a shell, on a host of this process's own: they give what lacked."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from dosirak.engine.doctor import Seen, judge, remedies
from dosirak.engine.doctor.model import Cgroups, Ids
from support import takeaway

from .test_taken_away import PLAIN, USER, examine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a remedy is root's")

CHANGED = msgspec.structs.replace
DEBIAN = Seen(release="6.1.0", machine="x86_64", family=("debian",))
SUDO = '#!/bin/sh\nexec "$@"\n'
# What would change the machine for all is only written down.
RECORDER = '#!/bin/sh\necho "${{0##*/}} $*" >> {notes}\n'


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder for PATH: sudo, and recorders in place of what acts on the whole machine; `notes` is what they were
    told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("modprobe", "systemctl", "update-grub"):
        (folder / name).write_text(RECORDER.format(notes=tmp_path / "notes"))
    (folder / "sudo").write_text(SUDO)
    for program in folder.iterdir():
        program.chmod(0o755)
    return folder


@pytest.fixture
def paste(programs: Path) -> Callable[..., str]:
    """Runs a remedy in a copy of /etc that is thrown away, with a network of its own, then looks at a file."""

    def run(remedy: str, look: str = "/dev/null") -> str:
        script = f"{remedy}\ncat {look}"
        steps = ["network", "copy:/etc", "--", "/bin/sh", "-ec", script]
        done = subprocess.run(
            [sys.executable, takeaway.__file__, *steps],
            capture_output=True,
            text=True,
            env={**PLAIN, "PATH": f"{programs}:{PLAIN['PATH']}"},
            cwd="/",
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def all_remedies() -> list[str]:
    """Of a host without anything, seen by root and by an ordinary user."""
    tried = dict.fromkeys(("call openat2", "namespace user", "namespace time", "mounts", "proc", "overlay"), "no")
    tried |= dict.fromkeys(("bridge", "nf_tables", "seccomp", "idmapped"), "no")
    bare = Seen(
        release="5.10", machine="x86_64", family=("debian",), tried=tried, settings={"net.ipv4.ip_forward": "0"}
    )
    found = []
    for ids in (Ids(), Ids(1000, "minsu")):
        for mode in (Cgroups(), Cgroups("v2"), Cgroups("v2", ("cpu",), True)):
            for container in ("", "docker", "kubernetes"):
                seen = CHANGED(
                    bare, ids=ids, cgroups=mode, container=container, tried={} if mode.writable else bare.tried
                )
                found += [finding.remedy for finding in judge(seen).findings if finding.remedy]
    return sorted(set(found))


def test_what_begins_as_a_command_is_one_to_its_end() -> None:
    commands = [remedy for remedy in all_remedies() if re.match(r"(sudo|echo|export) ", remedy)]
    assert len(commands) >= 8
    for command in commands:
        done = subprocess.run(["/bin/sh", "-nc", command], capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.mark.parametrize(("name", "value"), [("net.ipv4.ip_unprivileged_port_start", 80), ("net.ipv4.ip_forward", 1)])
@pytest.mark.skipif(shutil.which("sysctl", path=PLAIN["PATH"]) is None, reason="no sysctl (Debian: procps)")
def test_a_setting_is_set_now_and_for_good(paste: Callable[..., str], name: str, value: int) -> None:
    kept = "/etc/sysctl.d/60-dosirak.conf"
    said = paste(remedies.setting(name, value), f"/proc/sys/{name.replace('.', '/')} {kept}").splitlines()
    assert said[-2:] == [str(value), f"{name}={value}"]
    # What is kept is in sysctl's own form.
    paste(remedies.setting(name, value), f"{kept} && sysctl -p {kept}")


def test_low_ports_are_a_users_after_it(programs: Path) -> None:
    before = examine("network", f"become:{USER}")["low ports"]
    assert before["state"] == "limited"
    path = {"PATH": f"{programs}:{PLAIN['PATH']}"}
    # Whoever has no /usr/sbin has sudo's.
    programs.parent.chmod(0o755)
    after = examine("network", "copy:/etc", f"run:{before['remedy']}", f"become:{USER}", **path)["low ports"]
    assert (after["state"], after["found"]) == ("ok", "from 80 on")


@pytest.mark.skipif(not Path("/etc/subuid").exists(), reason="nobody has ids here")
def test_a_user_has_ids_after_it_that_are_nobody_elses(programs: Path) -> None:
    taken = ("show:/etc/subuid:somebody:100000:65536", "show:/etc/subgid:somebody:100000:131072")
    before = examine(*taken, f"become:{USER}")["subuid, subgid"]
    assert before["remedy"].startswith(f"echo {USER}:231072:65536 |")
    path = {"PATH": f"{programs}:{PLAIN['PATH']}"}
    after = examine(*taken, f"run:{before['remedy']}", f"become:{USER}", **path)["subuid, subgid"]
    assert (after["state"], after["found"]) == ("ok", "65536 ids besides the own one")


def test_a_module_is_loaded_now_and_for_good(paste: Callable[..., str], tmp_path: Path) -> None:
    remedy = f"{remedies.module('bridge')} && {remedies.module('veth')}"
    said = paste(remedy, "/etc/modules-load.d/dosirak.conf")
    assert said.splitlines()[-2:] == ["bridge", "veth"]
    assert (tmp_path / "notes").read_text().splitlines() == ["modprobe bridge", "modprobe veth"]


def test_what_systemd_is_told_to_delegate_is_in_its_own_form(paste: Callable[..., str], tmp_path: Path) -> None:
    text = paste(remedies.DELEGATE, "/etc/systemd/system/user@.service.d/delegate.conf")
    parsed = configparser.ConfigParser()
    parsed.read_string(text[text.rindex("[Service]") :])
    assert parsed["Service"]["Delegate"] == "cpu cpuset io memory pids"
    assert (tmp_path / "notes").read_text() == "systemctl daemon-reload\n"


def test_groups_can_be_made_after_they_were_mounted(programs: Path) -> None:
    remedy = next(remedy for remedy in all_remedies() if "-t cgroup2" in remedy)
    path = {"PATH": f"{programs}:{PLAIN['PATH']}"}
    assert examine("hide:/sys/fs/cgroup", f"run:{remedy}", **path)["cgroups"]["state"] != "missing"


@pytest.mark.skipif(shutil.which("mkfs.ext4", path=PLAIN["PATH"]) is None, reason="no mkfs.ext4 (Debian: e2fsprogs)")
def test_an_ext4_keeps_count_of_projects_after_it(paste: Callable[..., str], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", disk], check=True, env=PLAIN)
    remedy = next(remedy for remedy in all_remedies() if "tune2fs" in remedy)
    paste(remedy.replace("DEVICE", str(disk)))
    shown = subprocess.run(["dumpe2fs", "-h", disk], capture_output=True, text=True, env=PLAIN, check=True).stdout
    features = next(line for line in shown.splitlines() if line.startswith("Filesystem features:")).split()
    assert {"project", "quota"} <= set(features)


@pytest.mark.parametrize("package", ["uidmap", "passt", "libnftables1", "apparmor"])
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="not Debian")
def test_a_package_of_that_name_can_be_installed(package: str) -> None:
    command = remedies.install(DEBIAN, package).removeprefix("sudo ")
    # apt-get(8): -s changes nothing.
    done = subprocess.run([*command.split(), "-s"], capture_output=True, text=True)
    if "Unable to locate package" in done.stderr and not list(Path("/var/lib/apt/lists").glob("*Packages*")):
        pytest.skip("apt has no lists here")
    assert done.returncode == 0, done.stderr
