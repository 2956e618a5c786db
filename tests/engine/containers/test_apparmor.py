"""AppArmor, as far as it can be tried on a machine without: which profile, its text, how it is loaded and asked for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dosirak.engine.containers import security
from dosirak.engine.containers.documents import HostConfig
from dosirak.engine.containers.security import apparmor
from dosirak.engine.errors import HostLimit, InvalidRequest
from dosirak.engine.runtime import apparmor as kernel

parse = security.parse_security_options


@pytest.mark.parametrize(
    ("host", "options", "profile"),
    [
        (HostConfig(), [], apparmor.DEFAULT),
        (HostConfig(privileged=True), [], "unconfined"),
        (HostConfig(), ["apparmor=unconfined"], "unconfined"),
        (HostConfig(), ["apparmor:mine"], "mine"),
        (HostConfig(privileged=True), ["apparmor=mine"], "mine"),
    ],
)
def test_the_profile_is_ours_or_the_one_asked_for(host: HostConfig, options: list[str], profile: str) -> None:
    asked = parse(options, apparmor=True).apparmor
    assert apparmor.profile_of(host, asked, supported=True) == profile
    assert apparmor.profile_of(host, asked, supported=False) == ""


def test_a_profile_that_can_not_be_had_is_refused() -> None:
    with pytest.raises(InvalidRequest, match='AppArmor is not supported on this host, but the profile "mine"'):
        parse(["apparmor=mine"], apparmor=False)
    assert parse(["apparmor=unconfined"], apparmor=False).apparmor == "unconfined"
    for odd in ("apparmor=", "apparmor=a\nb", "apparmor= "):
        with pytest.raises(InvalidRequest, match="invalid AppArmor profile"):
            parse([odd], apparmor=True)


def denied(path: str, access: str) -> bool:
    """Whether the profile's text forbids it, by AppArmor's globs (apparmor.d(5), "Globbing")."""
    for found in re.finditer(r"^  deny (@\{PROC\}|)(/\S+) ([rwklx]+),$", apparmor.TEXT, re.M):
        prefix, pattern, rights = found.groups()
        pattern = ("/proc" if prefix else "") + pattern
        regex = re.sub(
            r"\*\*|\*|\{([^}]*)\}|\[[^\]]*\]|[^*{\[]+",
            lambda m: (
                ".+"
                if m[0] == "**"
                else "[^/]+"
                if m[0] == "*"
                else "(" + m[1].replace(",", "|") + ")"
                if m[1] is not None
                else m[0]
                if m[0].startswith("[")
                else re.escape(m[0])
            ),
            pattern,
        )
        if re.fullmatch(regex, path) and access in rights:
            return True
    return False


def test_the_kernels_switches_are_denied_and_a_containers_own_files_are_not() -> None:
    for path in (
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/sysrq",
        "/proc/sys/kernel/seccomp/actions_logged",
        "/proc/sys/vm/panic_on_oom",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/irq/1/smp_affinity",
        "/sys/kernel/uevent_helper",
        "/sys/fs/bpf/x",
        "/sys/module/x/parameters/y",
    ):
        assert denied(path, "w"), path
    for path in ("/proc/kcore", "/proc/keys", "/sys/firmware/efi/x", "/sys/kernel/security/apparmor/profiles"):
        assert denied(path, "r"), path
    for path in (
        "/proc/1/oom_score_adj",
        "/proc/self/attr/exec",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/kernel/shmmax",
        "/proc/sys/kernel/sem",
        "/proc/sys/kernel/msgmax",
        "/proc/sys/fs/mqueue/msg_max",
        "/sys/fs/cgroup/memory/x",
        "/etc/passwd",
    ):
        assert not denied(path, "w"), path
    assert not denied("/proc/sys/kernel/core_pattern", "r")
    for rule in ("deny mount,", "deny pivot_root,", "deny network alg,", "  capability,", "  file,"):
        assert rule in apparmor.TEXT


@pytest.mark.skipif(
    not (real := shutil.which("apparmor_parser", path="/usr/sbin:/sbin")),
    reason="no apparmor_parser (Debian: apparmor)",
)
def test_apparmors_own_parser_compiles_it() -> None:
    # apparmor_parser(8): --skip-kernel-load, --skip-cache; it needs no kernel with AppArmor.
    compiled = subprocess.run([str(real), "-Q", "-K", "--stdout"], input=apparmor.TEXT.encode(), capture_output=True)
    assert compiled.returncode == 0, compiled.stderr
    assert apparmor.DEFAULT.encode() in compiled.stdout
    # The control: it does judge what it is given.
    broken = apparmor.TEXT.replace("deny mount,", "deny mounts,").encode()
    assert subprocess.run([str(real), "-Q", "-K"], input=broken, capture_output=True).returncode


def parser(folder: Path, script: str) -> str:
    """A program that stands where apparmor_parser would."""
    path = folder / "parser"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


async def test_our_profile_is_loaded_when_it_is_not_there(tmp_path: Path) -> None:
    program = parser(tmp_path, f'echo "$@" > {tmp_path}/words; cat > {tmp_path}/text')
    await apparmor.ensure(apparmor.DEFAULT, parser=program, folder=tmp_path)
    assert (tmp_path / "text").read_text() == apparmor.TEXT
    assert (tmp_path / "words").read_text().split() == ["--skip-cache", "--replace"]
    (tmp_path / "text").unlink()
    (tmp_path / "profiles").write_text(f"unconfined-thing (enforce)\n{apparmor.DEFAULT} (enforce)\n")
    await apparmor.ensure(apparmor.DEFAULT, parser=program, folder=tmp_path)
    await apparmor.ensure("mine", parser=program, folder=Path("/nowhere"))
    assert not (tmp_path / "text").exists()


async def test_a_profile_that_can_not_be_loaded_is_no_start(tmp_path: Path) -> None:
    program = parser(tmp_path, "echo 'syntax error, line 3' >&2; exit 1")
    with pytest.raises(HostLimit, match="could not be loaded: syntax error, line 3"):
        await apparmor.ensure(apparmor.DEFAULT, parser=program, folder=tmp_path)
    with pytest.raises(HostLimit, match="could not be loaded: apparmor_parser: no such file or directory"):
        await apparmor.ensure(apparmor.DEFAULT, parser=str(tmp_path / "nosuch"), folder=tmp_path)


def test_the_change_is_written_to_a_procfs_and_nowhere_else(tmp_path: Path) -> None:
    # A file of procfs that takes any word.
    place = f"/proc/self/task/{os.getpid()}/comm"
    before = Path(place).read_text()
    kernel.apply("mine", ("/nowhere", place))
    assert Path(place).read_text() == "exec mine\n"
    Path(place).write_text(before.strip())
    (tmp_path / "exec").write_text("")
    with pytest.raises(OSError, match="apparmor failed to apply profile mine: is not on a procfs"):
        kernel.apply("mine", (str(tmp_path / "exec"),))
    assert (tmp_path / "exec").read_text() == ""
    kernel.check(place)
    with pytest.raises(OSError, match="is not on a procfs"):
        kernel.check(str(tmp_path / "exec"))
    with pytest.raises(OSError, match="apparmor failed to apply profile mine: no such file or directory"):
        kernel.apply("mine", ("/proc/self/attr/nosuch",))
