"""AppArmor: a profile for every container where the host has it, and `--security-opt apparmor=NAME`.

Ours is loaded as soon as a container needs it, and again where somebody has unloaded it. Its text is compiled by
AppArmor's own apparmor_parser, which comes with every system that has profiles at all.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from dosirak.engine.containers.documents import HostConfig
from dosirak.engine.errors import HostLimit
from dosirak.engine.runtime import privilege

DEFAULT = "dosirak-default"
UNCONFINED = "unconfined"
_PARSER = "apparmor_parser"
# An ordinary user's PATH lacks these.
_PATH = f"{os.defpath}:/usr/sbin:/sbin"
_SECURITYFS = Path("/sys/kernel/security/apparmor")

TEXT = f"""\
@{{PROC}} = /proc/

profile {DEFAULT} flags=(attach_disconnected, mediate_deleted) {{
  # What capabilities, seccomp, masks and read-only mounts say is said there; this stands where one of them fails.
  capability,
  file,
  network,
  umount,

  # The page cache could be written by it (CVE-2026-31431).
  deny network alg,

  # The engine's signals, and those of one's own kind; tracing among these.
  signal (receive) peer=unconfined,
  signal (send, receive) peer={DEFAULT},
  ptrace (read, readby, trace, tracedby) peer={DEFAULT},

  # A root that may mount could uncover what is masked.
  deny mount,
  deny pivot_root,

  # The kernel's switches: all but those of processes, of networks and of System V's and POSIX's messages.
  deny @{{PROC}}/* wklx,
  deny @{{PROC}}/{{acpi,asound,bus,driver,dynamic_debug,fs,irq,scsi,tty}}/** wklx,
  deny @{{PROC}}/sys/{{abi,crypto,debug,dev,sunrpc,user,vm,xen}}/** wklx,
  deny @{{PROC}}/sys/fs/[^m]** wklx,
  deny @{{PROC}}/sys/kernel/[^ms]** wklx,
  deny @{{PROC}}/sys/kernel/m[^s]** wklx,
  deny @{{PROC}}/sys/kernel/s[^eh]** wklx,
  deny @{{PROC}}/sys/kernel/se[^m]** wklx,
  deny @{{PROC}}/{{kcore,keys,sysrq-trigger}} rwklx,
  deny /sys/{{block,bus,class,dev,devices,firmware,hypervisor,kernel,module,power}}/** wklx,
  deny /sys/fs/[^c]** wklx,
  deny /sys/{{firmware,devices/virtual/powercap,kernel/security}}/** rwklx,
}}
"""


def supported(enabled: str) -> bool:
    """Whether containers can have profiles here. Parameters: `enabled`: the kernel module's parameter of that name.

    Not where an ordinary user runs the engine: profiles are loaded by the machine's root alone.
    """
    if enabled != "Y" or privilege.here().confined:
        return False
    return _SECURITYFS.is_dir() and shutil.which(_PARSER, path=_PATH) is not None


def profile_of(host: HostConfig, asked: str, *, supported: bool) -> str:
    """The profile of a container's processes, "" where there are none.

    Parameters: `asked`: what `--security-opt apparmor=` says, "" if nothing.
    """
    if not supported:
        return ""
    return asked or (UNCONFINED if host.privileged else DEFAULT)


async def ensure(profile: str, *, parser: str = "", folder: Path = _SECURITYFS) -> None:
    """See that our own profile is there; any other is its owner's business. Raises HostLimit in Docker's words.

    Parameters: `parser`: apparmor_parser's path, "" to look for it; `folder`: where the kernel lists profiles.
    """
    if profile != DEFAULT or await asyncio.to_thread(_loaded, folder):
        return
    problem = f"AppArmor enabled on system but the {DEFAULT} profile could not be loaded"
    try:
        process = await asyncio.create_subprocess_exec(
            *(parser or shutil.which(_PARSER, path=_PATH) or _PARSER, "--skip-cache", "--replace"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={},
        )
        _, said = await process.communicate(TEXT.encode())
    except OSError as error:
        raise HostLimit(f"{problem}: {_PARSER}: {os.strerror(error.errno or 0).lower()}") from error
    if process.returncode:
        raise HostLimit(f"{problem}: {said.decode(errors='replace').strip()}")


def _loaded(folder: Path) -> bool:
    try:
        return any(line.startswith(f"{DEFAULT} (") for line in (folder / "profiles").read_text().splitlines())
    except OSError:
        return False
