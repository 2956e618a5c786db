"""What was seen, and what that means: each lack by itself, and hosts that are not here."""

from __future__ import annotations

import msgspec
import pytest

from dosirak.engine.doctor import Finding, Seen, judge
from dosirak.engine.doctor.model import Cgroups, Ids

GOOD = Seen(
    release="6.1.0-13-amd64",
    machine="x86_64",
    system="Debian GNU/Linux 12 (bookworm)",
    family=("debian",),
    cgroups=Cgroups("v2", ("cpu", "cpuset", "io", "memory", "pids"), True),
    tried=dict.fromkeys(("namespace user", "namespace time", "overlay", "nf_tables", "seccomp", "idmapped"), ""),
    programs={"newuidmap": "/usr/bin/newuidmap", "newgidmap": "/usr/bin/newgidmap", "pasta": "/usr/bin/pasta"},
    settings={"net.ipv4.ip_forward": "1", "net.ipv4.ip_unprivileged_port_start": "80"},
    tun=True,
    place="/var/lib/dosirak",
    filesystem="xfs",
    free=100 << 30,
    quota=True,
)
USER = Ids(1000, "minsu", False, 65536, 65536)
CHANGED = msgspec.structs.replace


def findings(seen: Seen) -> dict[str, Finding]:
    return {finding.check: finding for finding in judge(seen).findings}


def failing(seen: Seen, what: str, why: str = "Operation not permitted") -> Seen:
    return CHANGED(seen, tried={**seen.tried, what: why})


INSIDE = CHANGED(GOOD, ids=Ids(0, "root", True, 65536, 65536), programs={}, tun=False)


CONFINING = CHANGED(GOOD, modules=("apparmor",), programs={**GOOD.programs, "apparmor_parser": "/sbin/apparmor_parser"})


@pytest.mark.parametrize(
    "seen", [CONFINING, GOOD, CHANGED(GOOD, ids=USER), INSIDE], ids=["AppArmor", "root", "user", "in its namespace"]
)
def test_a_good_host_lacks_nothing(seen: Seen) -> None:
    report = judge(seen)
    assert report.ok
    assert [finding for finding in report.findings if finding.state != "ok" or finding.cost or finding.remedy] == []


@pytest.mark.parametrize(
    ("seen", "check", "state", "remedy"),
    [
        (CHANGED(GOOD, machine="riscv64"), "kernel", "missing", "x86_64 or arm64"),
        (CHANGED(GOOD, release="5.10.0-28-amd64"), "kernel", "limited", "newer kernel"),
        (CHANGED(GOOD, release="4.4.0-19041-Microsoft", wsl=1), "machine", "missing", "wsl --set-version"),
        (CHANGED(GOOD, capable=False, container="docker"), "machine", "missing", "docker run --privileged"),
        (CHANGED(GOOD, capable=False, container="kubernetes"), "machine", "missing", "privileged: true"),
        (CHANGED(GOOD, capable=False), "machine", "missing", "ordinary user"),
        (failing(GOOD, "namespace user"), "namespace user", "limited", "CONFIG_USER_NS"),
        (failing(CHANGED(GOOD, ids=USER), "namespace user"), "namespace user", "missing", "CONFIG_USER_NS"),
        (failing(GOOD, "namespace time"), "namespace time", "limited", "CONFIG_TIME_NS"),
        (CHANGED(GOOD, modules=("lockdown", "apparmor")), "security modules", "limited", "apt-get install -y apparmor"),
        (failing(GOOD, "overlay", "No such device"), "overlay", "missing", "modprobe overlay"),
        (failing(CHANGED(GOOD, filesystem="nfs"), "overlay", "Invalid argument"), "overlay", "missing",
         "DOSIRAK_ROOT="),
        (CHANGED(GOOD, cgroups=Cgroups()), "cgroups", "missing", "mount -t cgroup2"),
        (CHANGED(GOOD, cgroups=Cgroups("v2", ("cpu", "io", "pids", "cpuset"), True)), "cgroups", "limited",
         "cgroup_enable=memory"),
        (CHANGED(GOOD, ids=USER, cgroups=Cgroups("v2", ("memory", "pids"), True)), "cgroups", "limited", "Delegate="),
        (CHANGED(GOOD, ids=USER, cgroups=Cgroups("v2", (), False)), "cgroups", "limited", "Delegate="),
        (CHANGED(GOOD, ids=USER, cgroups=Cgroups("hybrid", (), False)), "cgroups", "limited",
         "unified_cgroup_hierarchy"),
        (CHANGED(GOOD, ids=CHANGED(USER, subgids=0)), "subuid, subgid", "limited", "echo minsu:100000:65536 | sudo"),
        (CHANGED(GOOD, ids=USER, programs={}), "newuidmap", "limited", "sudo apt-get install -y uidmap"),
        (CHANGED(GOOD, ids=USER, programs={}, family=("rocky", "rhel", "fedora")), "newuidmap", "limited",
         "sudo dnf install -y shadow-utils"),
        (CHANGED(GOOD, ids=USER, programs={}, family=("nixos",)), "newuidmap", "limited", "install the package uidmap"),
        (CHANGED(GOOD, ids=USER, programs={}), "pasta", "limited", "sudo apt-get install -y passt"),
        (CHANGED(GOOD, ids=USER, tun=False), "/dev/net/tun", "limited", "modprobe tun"),
        (CHANGED(GOOD, ids=USER, settings={}), "low ports", "limited", "net.ipv4.ip_unprivileged_port_start=80"),
        (CHANGED(GOOD, settings={"net.ipv4.ip_forward": "0"}, locked=("net.ipv4.ip_forward",)), "ip_forward", "limited",
         "sysctl -w net.ipv4.ip_forward=1"),
        (failing(GOOD, "nf_tables", "libnftables.so.1: not found; install it"), "nf_tables", "missing",
         "sudo apt-get install -y libnftables1"),
        (failing(GOOD, "nf_tables"), "nf_tables", "missing", "modprobe nf_tables"),
        (failing(CHANGED(GOOD, container="podman"), "proc"), "/proc", "missing", "systempaths=unconfined"),
        (failing(GOOD, "seccomp"), "seccomp", "missing", "CONFIG_SECCOMP_FILTER"),
        (failing(GOOD, "idmapped"), "idmapped mounts", "limited", "5.19"),
        (CHANGED(GOOD, quota=False), "quota", "limited", "prjquota"),
        (CHANGED(GOOD, free=1 << 20), "disk", "limited", "prune"),
    ],
)  # fmt: skip
def test_each_lack_has_its_price_and_its_remedy(seen: Seen, check: str, state: str, remedy: str) -> None:
    found = findings(seen)[check]
    assert (found.state, remedy in found.remedy, found.cost != "") == (state, True, True), found
    assert judge(seen).ok == (state != "missing")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user.max_user_namespaces", "0"),
        ("kernel.unprivileged_userns_clone", "0"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1"),
    ],
)
def test_the_setting_that_forbids_user_namespaces_is_named(name: str, value: str) -> None:
    seen = failing(CHANGED(GOOD, ids=USER, settings={name: value}), "namespace user")
    assert f"sysctl -w {name}=" in findings(seen)["namespace user"].remedy


def test_wsl_2_and_containers_are_named() -> None:
    assert findings(CHANGED(GOOD, wsl=2))["machine"].found == "WSL 2, as root"
    inside = CHANGED(GOOD, container="kubernetes", ids=USER)
    assert findings(inside)["machine"].found == "inside a container (kubernetes), as user minsu (rootless)"


@pytest.mark.parametrize(
    ("release", "version"), [("6.18.44-fc", (6, 18)), ("5.15.167.4-microsoft-standard-WSL2", (5, 15)), ("x", (0, 0))]
)
def test_a_kernel_s_version_is_read_from_its_name(release: str, version: tuple[int, int]) -> None:
    assert Seen(release=release).version == version
