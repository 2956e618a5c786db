"""Run the chosen tests, or any, in a machine whose only cgroup hierarchy is v2; ends with their status.

    lane.py [--fetch] [--short] [--init plain|systemd] [--limit SECONDS] [pytest's arguments…]

Without tests among pytest's arguments: what `chosen.txt` names, and in a second boot, under systemd, what `systemd.txt`
does; `--short` is one boot with what `short.txt` names.
`--fetch` only fetches the kernel; status 77 then says that it can't be had here. Needs qemu-system-x86 and busybox.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from v2.kernel import Kernel, NotToBeHad  # noqa: E402
from v2.machine import QEMU, Failed, Machine, say  # noqa: E402

CACHE = PROJECT / "build/v2"
SLOWER = 10.0
"""How much longer tests may wait in a machine that TCG interprets."""
_KEPT = ("PATH", "LANG", "HOME", "PYTHONPATH", "DOSIRAK_TESTS_SLOWER")
NOT_TO_BE_HAD = 77
SYSTEMD = Path("/lib/systemd/systemd")
_LISTS = {"plain": "chosen.txt", "systemd": "systemd.txt"}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fetch", action="store_true")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--init", choices=("plain", "systemd"), default=None)
    parser.add_argument("--limit", type=float, default=1800.0)
    options, arguments = parser.parse_known_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which ends the machine, too
    kernel = Kernel(CACHE)
    try:
        if shutil.which(QEMU) is None:
            raise NotToBeHad(f"{QEMU} is not there (Debian: apt install qemu-system-x86)")
        kernel.fetch()
    except NotToBeHad as error:
        say(f"no machine for the cgroup v2 lane: {error}")
        return NOT_TO_BE_HAD
    if options.fetch:
        return 0
    machine = Machine(kernel, CACHE)
    if options.short:
        return _boot(machine, "plain", arguments, options.limit, "short.txt")
    boots = [options.init] if options.init else list(_LISTS)
    return max(_boot(machine, init, arguments, options.limit, _LISTS[init]) for init in boots)


def _boot(machine: Machine, init: str, arguments: list[str], limit: float, tests_of: str) -> int:
    if init == "systemd" and not SYSTEMD.exists():
        say("under systemd: skipped, this machine has no systemd to boot")
        return 0
    named = any((PROJECT / argument.partition("::")[0]).exists() for argument in arguments)
    tests = [*arguments, *([] if named else _listed(tests_of))]
    kvm, began = machine.kvm, time.monotonic()
    slower = 1.0 if kvm else SLOWER
    say(f"cgroup v2, {init} init, {'KVM' if kvm else 'TCG'}: booting")
    environment = {"DOSIRAK_TESTS_SLOWER": str(slower)}
    environment |= {name: os.environ[name] for name in _KEPT if name in os.environ}
    command = [sys.executable, "-m", "pytest", "-v", "--color=no", "-p", "no:cacheprovider"]
    command += [f"--timeout={120 * slower:g}", *tests]
    try:
        status = machine.run(command, PROJECT, init=init, environment=environment, limit=limit)
    except Failed as error:
        say(str(error))
        status = 1
    say(f"cgroup v2, {init} init: {'ok' if not status else f'failed ({status})'} in {time.monotonic() - began:.0f} s")
    return status


def _listed(name: str) -> list[str]:
    lines = (HERE / name).read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


if __name__ == "__main__":
    sys.exit(main())
