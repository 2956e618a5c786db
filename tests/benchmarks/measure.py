"""Timing of cases side by side: in turns within one run, so that the machine's mood hits all alike."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

Prepare = Callable[[Path], AbstractContextManager[Callable[[], None]]]
"""Given a folder of its own, a context manager around the thing to time."""


class NotHere(Exception):
    """This case can't be measured on this machine; the message says why."""


@dataclass
class Case:
    """One row of the table. `meter` tells the processor time that a service behind it has spent so far, in seconds.

    What `prepare` gives is called for each round; if it has a method `before`, that is called first, untimed.
    """

    name: str
    prepare: Prepare
    meter: Callable[[], float] | None = None
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    absent: str = ""

    @property
    def median(self) -> float:
        """Milliseconds."""
        return statistics.median(self.seconds) * 1000

    @property
    def best(self) -> float:
        """Milliseconds."""
        return min(self.seconds) * 1000

    @property
    def p95(self) -> float:
        """Milliseconds within which 19 of 20 rounds ended."""
        return sorted(self.seconds)[int(len(self.seconds) * 0.95)] * 1000


def measure(cases: Sequence[Case], folder: Path, rounds: int, warm_up: int = 3) -> None:
    """Fill each case's `seconds` (or `absent`)."""
    with contextlib.ExitStack() as stack:
        ready: list[tuple[Case, Callable[[], None]]] = []
        for number, case in enumerate(cases):
            own = folder / f"{number}"
            own.mkdir()
            try:
                run = stack.enter_context(case.prepare(own))
                for _ in range(warm_up):
                    _make_ready(run)
                    run()
            except NotHere as reason:
                case.absent = str(reason)
                continue
            ready.append((case, run))
        for _ in range(rounds):
            for case, run in ready:
                _make_ready(run)
                spent = case.meter() if case.meter else 0.0
                start = time.perf_counter()
                run()
                case.seconds.append(time.perf_counter() - start)
                if case.meter:
                    case.cpu_seconds.append(case.meter() - spent)


def _make_ready(run: Callable[[], None]) -> None:
    before = getattr(run, "before", None)
    if before is not None:
        before()


def table(cases: Sequence[Case], reference: str) -> Iterator[str]:
    """Lines of the result: milliseconds, and how many times the reference's median."""
    base = next((case.median for case in cases if case.name == reference and case.seconds), None)
    width = max(len(case.name) for case in cases)
    yield f"{'':{width}}  median    min     p95   × {reference}  service CPU"
    for case in cases:
        if case.seconds:
            ratio = f"{case.median / base:9.2f}" if base else ""
            cpu = f"{statistics.median(case.cpu_seconds) * 1000:14.1f}" if case.cpu_seconds else ""
            yield f"{case.name:{width}}  {case.median:6.1f}  {case.best:5.1f}  {case.p95:6.1f} {ratio}{cpu}"
        else:
            yield f"{case.name:{width}}  -  {case.absent}"


def cpu_of(pid: int) -> float:
    """Processor time of a process, of threads that have ended too, in seconds; in nanoseconds, unlike stat's."""
    # What clock_getcpuclockid(3) gives, which Python has for threads alone (CPUCLOCK_SCHED, linux/posix-timers.h).
    return time.clock_gettime(~pid << 3 | 2)


def quietly(*command: str | Path, **options: object) -> Callable[[], None]:
    """A case that runs a command to its end; any failure is an error with the command's own words."""
    arguments = [*map(str, command)]

    def run() -> None:
        done = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options
        )
        if done.returncode:
            raise NotHere(done.stderr.decode(errors="replace").strip().splitlines()[-1] or f"status {done.returncode}")

    return run
