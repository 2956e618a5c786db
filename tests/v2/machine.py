"""The virtual machine: qemu with KVM where that works, with its interpreter TCG where not."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from v2.kernel import GUEST, Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

QEMU = "qemu-system-x86_64"
_PROBE_PATIENCE = 15.0
# What a test machine has no need of, and an interpreter would pay for dearly.
_KERNEL_ARGUMENTS = (
    *("console=ttyS0", "quiet", "loglevel=3", "panic=-1", "cgroup_no_v1=all", "mitigations=off", "audit=0"),
    *("init_on_alloc=0", "nokaslr", "nowatchdog", "rcupdate.rcu_expedited=1", "random.trust_cpu=on"),
    *("selinux=0", "systemd.unified_cgroup_hierarchy=1"),
)


class Failed(Exception):
    """The guest ended without a status; says what it last wrote on its console."""


class Machine:
    """A machine with this kernel, on KVM or TCG. `cache`: a folder where it may remember what works."""

    def __init__(self, kernel: Kernel, cache: Path, memory: int = 3072) -> None:
        self._kernel, self._cache, self._memory = kernel, cache, memory

    @property
    def kvm(self) -> bool:
        """Whether a guest boots with KVM: a nested one may hang. Tried once a boot of this machine."""
        if not os.access("/dev/kvm", os.W_OK):
            return False
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        note = self._cache / "kvm"
        if not note.is_file() or note.read_text().split()[0] != boot:
            note.write_text(f"{boot} {'works' if self._kvm_boots() else 'hangs'}\n")
        return note.read_text().split()[1] == "works"

    def _kvm_boots(self) -> bool:
        with _exchange() as exchange:
            (exchange / "probe").touch()
            command = self._command(exchange, kvm=True)
            try:
                subprocess.run(command, timeout=_PROBE_PATIENCE, capture_output=True, stdin=subprocess.DEVNULL)
            except subprocess.TimeoutExpired:
                return False
            return (exchange / "status").exists()

    def run(
        self, command: Sequence[str], project: Path, *, init: str, environment: Mapping[str, str], limit: float
    ) -> int:
        """Boot, run a command in the project's folder, power off. Returns its status.

        Parameters: `init`: "plain" or "systemd"; `limit` in seconds. Raises Failed.
        """
        with _exchange() as exchange:
            for name in ("setup", "run", "systemd-setup"):
                shutil.copy(GUEST / name, exchange)
            variables = {**environment, "PROJECT": str(project), "INIT": init, "COMMAND": shlex.join(command)}
            lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
            (exchange / "variables").write_text("".join(lines))
            try:
                subprocess.run(self._command(exchange, kvm=self.kvm), timeout=limit, stdin=subprocess.DEVNULL)
            except subprocess.TimeoutExpired:
                raise Failed(f"the guest was still running after {limit:g} s") from None
            try:
                return int((exchange / "status").read_text())
            except (OSError, ValueError):
                said = (exchange / "console").read_text(errors="replace").splitlines()[-20:]
                raise Failed("\n".join(["the guest ended without a status; its console:", *said])) from None

    def _command(self, exchange: Path, *, kvm: bool) -> list[str]:
        share = "local,id={},path={},security_model=none{}"
        accelerator, cpu = ("kvm", "host") if kvm else ("tcg,thread=multi", "Nehalem")
        return [
            QEMU,
            *("-machine", "q35", "-accel", accelerator, "-cpu", cpu, "-smp", "2", "-m", str(self._memory)),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-kernel", str(self._kernel.image), "-initrd", str(self._kernel.initramfs)),
            *("-append", " ".join(_KERNEL_ARGUMENTS), "-serial", f"file:{exchange}/console"),
            *("-device", "virtio-serial-pci", "-device", "virtconsole,chardev=out"),
            *("-chardev", "stdio,id=out,signal=off"),
            *("-fsdev", share.format("root", "/", ",readonly=on,multidevs=remap")),
            *("-device", "virtio-9p-pci,fsdev=root,mount_tag=root"),
            *("-fsdev", share.format("exchange", exchange, "")),
            *("-device", "virtio-9p-pci,fsdev=exchange,mount_tag=exchange"),
        ]


@contextmanager
def _exchange() -> Iterator[Path]:
    """A folder that host and guest both write."""
    with tempfile.TemporaryDirectory(prefix="dosirak-v2-") as folder:
        yield Path(folder)


def say(text: str) -> None:
    """A line of the lane's own."""
    print(f"== {text}", flush=True, file=sys.stderr)
