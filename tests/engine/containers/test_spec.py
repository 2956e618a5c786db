"""A record becomes the OCI document Docker would write."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from dosirak.engine.containers import spec
from dosirak.engine.containers.documents import ContainerConfig, HostConfig, Ulimit
from dosirak.engine.containers.model import Container
from dosirak.engine.containers.mounts import MountPlan
from dosirak.engine.containers.spec import Resolved
from dosirak.engine.runtime import privilege
from dosirak.engine.runtime.defaults import DEFAULT_CAPABILITIES, MASKED_PATHS, NAMESPACES, READONLY_PATHS

ID = "c0" * 32
OWN = {"/etc/hosts": "/c/hosts", "/etc/hostname": "/c/hostname", "/etc/resolv.conf": "/c/resolv.conf"}
RESOLVED = Resolved(
    lower=["/l/top", "/l/base"], upper="/c/upper", work="/c/work", files=OWN, capabilities=DEFAULT_CAPABILITIES
)


def build(*, plans=(), resolved=RESOLVED, config=None, **host):
    config = ContainerConfig(**{"hostname": "box", "env": ["PATH=/bin"], **(config or {})})
    host.setdefault("network_mode", "bridge")
    host.setdefault("ipc_mode", "private")
    record = Container(
        id=ID,
        name="box",
        created=0.0,
        image="sha256:0",
        path="sh",
        args=["-c", "true"],
        config=config,
        host_config=HostConfig(**host),
        mount_plans=list(plans),
    )
    return spec.build(record, resolved)


def with_(**changes):
    return dataclasses.replace(RESOLVED, **changes)


def mount(document, place):
    found = [entry for entry in document["mounts"] if entry["destination"] == place]
    assert len(found) == 1, f"{len(found)} mounts at {place}"
    return found[0]


def test_a_plain_container():
    document = build()
    assert document["ociVersion"].startswith("1.")
    assert document["root"] == {"path": "rootfs", "readonly": False}
    assert document["hostname"] == "box"
    assert "domainname" not in document
    process = document["process"]
    assert process["args"] == ["sh", "-c", "true"]
    assert process["cwd"] == "/"
    assert process["env"] == ["PATH=/bin", "HOSTNAME=box"]
    assert process["user"] == {"username": "0"}
    assert process["terminal"] is False
    assert process["noNewPrivileges"] is False
    assert document["linux"]["cgroupsPath"] == f"dosirak/{ID}"
    assert document["linux"]["maskedPaths"] == list(MASKED_PATHS)
    assert document["linux"]["readonlyPaths"] == list(READONLY_PATHS)
    kinds = [entry["type"] for entry in document["linux"]["namespaces"]]
    assert kinds == list(NAMESPACES)


def test_the_document_is_plain_json():
    assert msgspec.json.decode(msgspec.json.encode(build())) == build()


def test_the_root_is_an_overlay_with_the_topmost_layer_first():
    first = build()["mounts"][0]
    assert first["destination"] == "/" and first["type"] == "overlay"
    assert first["options"] == ["lowerdir+=/l/top", "lowerdir+=/l/base", "upperdir=/c/upper", "workdir=/c/work"]


def test_the_default_mounts_are_dockers():
    document = build()
    assert mount(document, "/proc")["options"] == ["nosuid", "noexec", "nodev"]
    assert mount(document, "/dev")["options"] == ["nosuid", "strictatime", "mode=755", "size=65536k"]
    assert "newinstance" in mount(document, "/dev/pts")["options"]
    assert "ro" in mount(document, "/sys")["options"]
    assert "ro" in mount(document, "/sys/fs/cgroup")["options"]
    assert mount(document, "/dev/shm")["options"] == ["nosuid", "noexec", "nodev", "mode=1777", f"size={64 << 20}"]
    for place, source in OWN.items():
        assert mount(document, place) == {
            "destination": place,
            "type": "bind",
            "source": source,
            "options": ["rbind", "rprivate"],
        }


def test_the_capability_sets_of_root_leave_inheritable_and_ambient_empty():
    sets = build()["process"]["capabilities"]
    assert sets["bounding"] == sets["effective"] == sets["permitted"] == list(DEFAULT_CAPABILITIES)
    assert sets["inheritable"] == sets["ambient"] == []


@pytest.mark.parametrize("user", ["1000", "1000:1000", "1"])
def test_a_user_other_than_root_keeps_only_the_bounding_set(user):
    process = build(config={"user": user})["process"]
    assert process["user"] == {"username": user}
    assert process["capabilities"]["bounding"] == list(DEFAULT_CAPABILITIES)
    assert process["capabilities"]["effective"] == process["capabilities"]["permitted"] == []


@pytest.mark.parametrize(
    ("host", "missing"),
    [
        ({"network_mode": "host"}, "network"),
        ({"pid_mode": "host"}, "pid"),
        ({"ipc_mode": "host"}, "ipc"),
        ({"uts_mode": "host"}, "uts"),
        ({"cgroupns_mode": "host"}, "cgroup"),
    ],
)
def test_a_shared_namespace_is_not_in_the_document(host, missing):
    kinds = {entry["type"] for entry in build(**host)["linux"]["namespaces"]}
    assert kinds == set(NAMESPACES) - {missing}


def test_with_the_hosts_uts_namespace_no_name_is_set():
    assert "hostname" not in build(uts_mode="host")


def test_the_domain_name_is_set():
    assert build(config={"domainname": "example.org"})["domainname"] == "example.org"


def test_network_sysctls_are_set_only_in_a_network_of_its_own():
    assert build()["linux"]["sysctl"]["net.ipv4.ip_unprivileged_port_start"] == "0"
    assert (
        build(network_mode="none")["linux"]["sysctl"]["net.ipv4.ping_group_range"] == f"0 {privilege.here().last_gid}"
    )
    assert build(network_mode="host")["linux"]["sysctl"] == {}
    assert build(network_mode=f"container:{ID}")["linux"]["sysctl"] == {}
    asked = build(sysctls={"net.ipv4.ip_unprivileged_port_start": "1024"})
    assert asked["linux"]["sysctl"]["net.ipv4.ip_unprivileged_port_start"] == "1024"


def test_privileged_unmasks_and_makes_sys_writable():
    document = build(privileged=True)
    assert document["linux"]["maskedPaths"] == document["linux"]["readonlyPaths"] == []
    assert "rw" in mount(document, "/sys")["options"] and "ro" not in mount(document, "/sys")["options"]
    assert "rw" in mount(document, "/sys/fs/cgroup")["options"]


def test_asked_paths_take_the_place_of_the_defaults_and_empty_lists_mean_none():
    document = build(masked_paths=["/proc/x"], readonly_paths=[])
    assert document["linux"]["maskedPaths"] == ["/proc/x"]
    assert document["linux"]["readonlyPaths"] == []


def test_systempaths_unconfined_unmasks():
    document = build(resolved=with_(unmasked=True))
    assert document["linux"]["maskedPaths"] == document["linux"]["readonlyPaths"] == []


def test_a_readonly_root_leaves_only_dev_proc_and_what_was_asked_writable():
    data = MountPlan(type="bind", source="/s", destination="/data")
    document = build(plans=[data], readonly_rootfs=True, tmpfs={"/run": ""})
    assert document["root"]["readonly"] is True
    for place in ("/sys", "/sys/fs/cgroup", "/etc/hosts"):
        assert "ro" in mount(document, place)["options"]
    for place in ("/proc", "/dev", "/dev/shm", "/dev/mqueue", "/data", "/run"):
        assert "ro" not in mount(document, place)["options"]


def test_binds_volumes_and_tmpfs_come_after_the_defaults_from_the_top_down():
    plans = [
        MountPlan(type="bind", source="/deep", destination="/a/b/c"),
        MountPlan(type="volume", name="v", source="/v/_data", destination="/a", rw=False),
        MountPlan(type="tmpfs", destination="/a/b", options=["size=4096"]),
    ]
    document = build(plans=plans)
    places = [entry["destination"] for entry in document["mounts"]]
    assert places.index("/dev/shm") < places.index("/a") < places.index("/a/b") < places.index("/a/b/c")
    assert mount(document, "/a")["options"] == ["rbind", "rprivate", "rro"]
    assert mount(document, "/a/b") == {
        "destination": "/a/b",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["size=4096"],
    }
    assert mount(document, "/a/b/c")["options"] == ["rbind", "rprivate"]


def test_a_mount_of_etc_does_not_hide_the_containers_own_files():
    places = [
        entry["destination"]
        for entry in build(plans=[MountPlan(type="bind", source="/e", destination="/etc")])["mounts"]
    ]
    assert places.index("/etc") < places.index("/etc/hosts")


def test_what_is_asked_at_a_default_place_takes_it():
    document = build(
        plans=[
            MountPlan(type="bind", source="/h", destination="/etc/hosts"),
            MountPlan(type="tmpfs", destination="/dev/shm", options=["size=1"]),
        ]
    )
    assert mount(document, "/etc/hosts")["source"] == "/h"
    assert mount(document, "/dev/shm")["options"] == ["size=1"]


def test_a_mount_of_dev_drops_the_defaults_below_it():
    places = [
        entry["destination"]
        for entry in build(plans=[MountPlan(type="bind", source="/dev", destination="/dev")])["mounts"]
    ]
    assert not [place for place in places if place.startswith("/dev/")]


def test_tmpfs_gets_dockers_safe_defaults():
    document = build(tmpfs={"/run/": "exec,size=1m", "/t": ""})
    assert mount(document, "/run")["options"] == ["nosuid", "nodev", "exec", "size=1m"]
    assert mount(document, "/t")["options"] == ["noexec", "nosuid", "nodev"]


@pytest.mark.parametrize(
    ("plan", "options"),
    [
        (
            MountPlan(type="bind", source="/s", destination="/d", rw=False, flat_readonly=True),
            ["rbind", "rprivate", "ro"],
        ),
        (MountPlan(type="bind", source="/s", destination="/d", recursive=False), ["bind", "rprivate"]),
        (MountPlan(type="bind", source="/s", destination="/d", propagation="rslave"), ["rbind", "rslave"]),
    ],
)
def test_bind_options(plan, options):
    assert mount(build(plans=[plan]), "/d")["options"] == options


@pytest.mark.parametrize(("propagation", "root"), [("rshared", "shared"), ("slave", "rslave"), ("rprivate", None)])
def test_propagation_needs_a_root_that_propagates(propagation, root):
    plan = MountPlan(type="bind", source="/s", destination="/d", propagation=propagation)
    assert build(plans=[plan])["linux"].get("rootfsPropagation") == root


def test_shared_memory_by_ipc_mode():
    assert not [entry for entry in build(ipc_mode="none")["mounts"] if entry["destination"] == "/dev/shm"]
    shared = mount(build(ipc_mode="shareable", resolved=with_(shm="/c/shm")), "/dev/shm")
    assert shared["type"] == "bind" and shared["source"] == "/c/shm"
    host = build(ipc_mode="host", resolved=with_(shm="/dev/shm"))
    assert mount(host, "/dev/shm")["source"] == "/dev/shm"
    assert mount(host, "/dev/mqueue")["type"] == "mqueue"
    assert f"size={1 << 20}" in mount(build(shm_size=1 << 20), "/dev/shm")["options"]


def test_limits_and_devices():
    node = {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}
    rule = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"}
    document = build(
        resolved=with_(devices=[node], device_rules=[rule]),
        memory=64 << 20,
        memory_swap=128 << 20,
        nano_cpus=1_500_000_000,
        pids_limit=100,
        cpuset_cpus="0",
        cpu_shares=512,
        oom_score_adj=500,
        ulimits=[Ulimit(name="nofile", soft=1024, hard=2048), Ulimit(name="core", soft=-1, hard=-1)],
    )
    resources = document["linux"]["resources"]
    assert resources["memory"] == {"limit": 64 << 20, "swap": 128 << 20}
    assert resources["cpu"] == {"shares": 512, "period": 100000, "quota": 150000, "cpus": "0"}
    assert resources["pids"] == {"limit": 100}
    assert resources["devices"] == [rule]
    assert document["linux"]["devices"] == [node]
    assert document["process"]["oomScoreAdj"] == 500
    assert document["process"]["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 2048},
        {"type": "RLIMIT_CORE", "soft": (1 << 64) - 1, "hard": (1 << 64) - 1},
    ]


def test_without_limits_no_cgroup_file_is_written():
    assert build()["linux"]["resources"] == {"devices": []}


def test_groups_and_annotations():
    document = build(group_add=["audio", "44"], annotations={"a": "b", "dosirak.groups": "wheel"})
    assert document["annotations"] == {"a": "b", "dosirak.groups": "audio,44"}
    assert "annotations" not in build()


def test_a_terminal_has_its_size_and_term():
    process = build(config={"tty": True}, console_size=(24, 80))["process"]
    assert process["terminal"] is True
    assert process["consoleSize"] == {"height": 24, "width": 80}
    assert "TERM=xterm" in process["env"]
