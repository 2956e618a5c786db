"""Memory that is given back: what a process holds after it has settled, and that nothing it wrote is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from docker.models.containers import Container

from dosirak.engine.supervision import settling
from support.engines import Engine, wait_for
from support.machinecode import compiled

SOURCE = Path(settling.__file__).with_name("settling.c")

FORKED = """
import os, sys, types
from dosirak.engine.supervision import settling

def own():
    rollup = open("/proc/self/smaps_rollup").read()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Anonymous:"))

functions = [types.FunctionType(compile(f"x + {n}", "", "eval"), {"x": n}) for n in range(5000)]
counted = [0] * 1000
settling.freeze()
for generation in range(2):  # a fork of a fork settles as well
    if os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
kept = list(functions)  # takes a count of each: some of every page
for n in range(0, 1000, 2):
    counted[n] = str(n) * 3
text = [bytearray(str(n).encode()) for n in range(2000)]
before = own()
settling.settle()
after = own()
assert all(function() == 2 * n for n, function in enumerate(kept))
assert counted == [str(n) * 3 if n % 2 == 0 else 0 for n in range(1000)]
assert [int(entry) for entry in text] == list(range(2000))
del kept, functions  # their counts are the launcher's again, less those given back here: nothing may be freed by that
again = [types.SimpleNamespace(n=n) for n in range(20000)]
settling.settle()
assert [one.n for one in again] == list(range(20000))
print(before, after)
"""


@pytest.mark.parametrize("machine", settling.CODE)
def test_the_source_compiles_to_the_code_that_is_shipped(machine, tmp_path):
    code = compiled(SOURCE, machine, settling.FLAGS, tmp_path)
    assert code == bytes.fromhex(settling.CODE[machine])


def test_a_fork_that_settles_gives_back_what_counting_took_and_keeps_what_it_wrote():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert after < before - 200, "half a megabyte of functions was only counted"


def test_a_monitor_settles_soon_after_a_start_and_serves_on(engine: Engine):
    engine.import_busybox()
    word = ["sh", "-c", "trap 'echo heard; exit 7' USR1; echo ready; while :; do sleep 0.1; done"]
    crowd = [engine.client.containers.run("busybox", word, detach=True, network_mode="none") for _ in range(6)]
    monitors = [_monitor(container) for container in crowd]
    # The first two come from forks that were made before the launcher's memory was a file.
    wait_for(lambda: len([monitor for monitor in monitors if _own(monitor) < 800]) >= 4)
    for container in crowd:
        wait_for(lambda container=container: b"ready" in container.logs())
        container.kill("USR1")
    assert [container.wait()["StatusCode"] for container in crowd] == [7] * 6
    assert [container.logs() for container in crowd] == [b"ready\nheard\n"] * 6


def _monitor(container: Container) -> int:
    container.reload()
    stat = Path(f"/proc/{container.attrs['State']['Pid']}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def _own(pid: int) -> int:
    """Kilobytes of a process's own."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_Dirty:"))
