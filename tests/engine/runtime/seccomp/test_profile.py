"""Docker's default profile, name by name, and profiles of users."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dosirak.engine.runtime.defaults import DEFAULT_CAPABILITIES
from dosirak.engine.runtime.seccomp import ProfileError, profile, tables
from dosirak.engine.runtime.seccomp.document import Document

DEFAULT = frozenset(DEFAULT_CAPABILITIES)

# Each capability, and the calls that it opens.
BY_CAPABILITY = {
    "CAP_SYS_ADMIN": "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr"
    " lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd"
    " setdomainname sethostname setns syslog umount umount2 unshare",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYSLOG": "syslog",
    "CAP_BPF": "bpf",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYS_MODULE": "delete_module init_module finit_module",
    "CAP_SYS_RAWIO": "iopl ioperm",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    "CAP_SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
}
# Whatever a container may do otherwise.
NEVER = """
keyctl add_key request_key io_uring_setup io_uring_enter io_uring_register userfaultfd kexec_load kexec_file_load swapon
swapoff pivot_root move_pages migrate_pages nfsservctl ustat uselib sysfs vm86 vm86old create_module get_kernel_syms
query_module
"""
# What Podman's profile allows without a condition and Docker's does not, and the reverse (containers-common 0.50.1).
PODMAN_MORE = """
clone clone3 fsconfig fsmount fsopen fspick get_mempolicy keyctl mbind mount mount_setattr move_mount open_tree
pidfd_getfd pivot_root process_vm_readv process_vm_writev ptrace readdir reboot set_mempolicy setns sigaction signal
sigpending sigsuspend syscall syslog timerfd umount umount2 unshare
"""
PODMAN_LESS = """
cachestat fchmodat2 futex_requeue futex_wait futex_waitv futex_wake getxattrat io_pgetevents io_pgetevents_time64
listmount listxattrat map_shadow_stack mseal removexattrat riscv_hwprobe setxattrat statmount uretprobe vmsplice
"""


def resolved(bounding: frozenset[str] = DEFAULT, release: str = "6.1.0") -> Document:
    found = profile.resolve(profile.default(), bounding, native="SCMP_ARCH_X86_64", release=release)
    assert found is not None
    return found


def allowed(document: Document) -> set[str]:
    """The calls that are allowed without a look at their arguments."""
    rules = [rule for rule in document.syscalls or () if not rule.args and rule.action == "SCMP_ACT_ALLOW"]
    return {name for rule in rules for name in rule.names}


def test_361_calls_are_always_allowed() -> None:
    always = (profile.default().syscalls or [])[0]
    assert (always.includes, always.excludes, always.args) == (None, None, None)
    assert len(always.names or ()) == len(set(always.names or ())) == 361


def test_the_always_allowed_are_podmans_but_for_a_known_difference() -> None:
    path = Path("/usr/share/containers/seccomp.json")
    if not path.exists():
        pytest.skip("containers-common is not installed")
    podman = json.loads(path.read_text())["syscalls"]
    free = {
        name
        for rule in podman
        if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args") and not any(rule.get("includes", {}).values())
        if not any(rule.get("excludes", {}).values())
        for name in rule["names"]
    }
    assert set((profile.default().syscalls or [])[0].names or ()) == (free - set(PODMAN_MORE.split())) | set(
        PODMAN_LESS.split()
    )


@pytest.mark.parametrize("name", BY_CAPABILITY)
def test_a_capability_opens_its_calls_and_no_others(name: str) -> None:
    bounding = DEFAULT - {"CAP_SYS_CHROOT"}
    without, with_it = allowed(resolved(bounding, "4.4.0")), allowed(resolved(bounding | {name}, "4.4.0"))
    assert with_it - without == set(BY_CAPABILITY[name].split())
    assert without <= with_it


def test_some_calls_are_allowed_to_nobody() -> None:
    every = {name for rule in profile.default().syscalls or () for name in rule.names or ()}
    assert every.isdisjoint(NEVER.split())


def test_tracing_depends_on_the_kernel() -> None:
    ptrace = {"ptrace", "process_vm_readv", "process_vm_writev"}
    assert ptrace <= allowed(resolved(release="4.8.0-generic"))
    assert ptrace.isdisjoint(allowed(resolved(release="4.7.10")))


def test_namespaces_take_sys_admin() -> None:
    rules = [rule for rule in resolved().syscalls or () if rule.names in (["clone"], ["clone3"])]
    assert [(rule.action, rule.errno_ret) for rule in rules] == [("SCMP_ACT_ALLOW", None), ("SCMP_ACT_ERRNO", 38)]
    argument = (rules[0].args or [])[0]
    assert (argument.index, argument.op, argument.value, argument.value_two) == (0, "SCMP_CMP_MASKED_EQ", 0x7E020000, 0)


def test_sockets_and_personalities_are_as_docker_has_them() -> None:
    found = [
        (rule.names[0], argument.op.removeprefix("SCMP_CMP_"), argument.value)
        for rule in resolved().syscalls or ()
        for argument in rule.args or ()
        if rule.names[0] != "clone"
    ]
    assert found == [
        ("socket", "LT", 38),
        ("socket", "EQ", 39),
        ("socket", "GT", 40),
        *(("personality", "EQ", value) for value in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)),
    ]


def test_the_machines_architectures_are_named() -> None:
    assert resolved().architectures == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    arm = profile.resolve(profile.default(), DEFAULT, native="SCMP_ARCH_AARCH64")
    assert arm is not None
    assert arm.architectures == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert {"cacheflush", "set_tls"} <= allowed(arm)
    assert "arch_prctl" not in allowed(arm)


def test_every_name_is_a_call_somewhere() -> None:
    columns = list(tables.ARCHITECTURES.values())
    for rule in profile.default().syscalls or ():
        for name in rule.names or ():
            known = any(column.number(name) is not None for column in columns)
            assert known or name in ("riscv_hwprobe", "sync_file_range2"), name


def test_a_profile_that_says_nothing_filters_nothing() -> None:
    assert profile.resolve(profile.read("{}"), DEFAULT) is None


def test_older_forms_are_understood() -> None:
    text = (
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "chmod", "action": "SCMP_ACT_LOG", "args": null}]}'
    )
    found = profile.resolve(profile.read(text), DEFAULT)
    assert found is not None
    assert (found.syscalls or [])[0].names == ["chmod"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Input data was truncated"),
        ('{"syscalls": 7}', "Expected `array | null`, got `int` - at `$.syscalls`"),
        ('{"defaultAction": "SCMP_ACT_NONSENSE"}', 'unknown action "SCMP_ACT_NONSENSE" - at `$.defaultAction`'),
        (
            '{"syscalls": [{"names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 6, "value": 0, "op": ""}]}]}',
            "a system call has arguments 0 to 5, not 6 - at `$.syscalls[0].args[0].index`",
        ),
        (
            '{"syscalls": [{"names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 0, "op": ""}]}]}',
            'unknown operator "" - at `$.syscalls[0].args[0].op`',
        ),
        (
            '{"syscalls": [{"names": ["a"], "name": "b", "action": "SCMP_ACT_ALLOW"}]}',
            "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'"
            " - at `$.syscalls[0]`",
        ),
        (
            '{"syscalls": [{"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "new"}}]}',
            'invalid kernel version: "new", expected "<kernel>.<major>" - at `$.syscalls[0].includes.minKernel`',
        ),
        (
            '{"architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}',
            "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or"
            " 'archMap'",
        ),
        (
            '{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_Z80"]}',
            'unknown architecture "SCMP_ARCH_Z80" - at `$.architectures[0]`',
        ),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["FAST"]}', 'unknown flag "FAST" - at `$.flags[0]`'),
        (
            '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_NOTIFY"}]}',
            "seccomp listenerPath is not set - at `$.listenerPath`",
        ),
    ],
)
def test_a_profile_that_can_not_be_used_is_refused_with_the_place(text: str, said: str) -> None:
    with pytest.raises(ProfileError) as caught:
        profile.read(text)
    assert str(caught.value) == said
