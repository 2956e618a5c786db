"""What stands around every table of measurements: its options, a folder, an engine and a dockerd, and an end that
leaves nothing behind, also when it is interrupted or told to end."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers
from support.engines import BASE_VARIABLE, Engine, new_settings


@dataclass(frozen=True)
class Session:
    """One run: `folder` is for the rows; `dockerd` is started by the first row that needs it."""

    base: Path
    engine: Engine
    dockerd: peers.Dockerd
    rounds: int
    only: list[str]

    @property
    def folder(self) -> Path:
        """Made for the rows' own folders."""
        made = self.base / "rows"
        made.mkdir(exist_ok=True)
        return made

    def wants(self, name: str) -> bool:
        """Whether `--only` leaves this row in."""
        return not self.only or any(word in name for word in self.only)


def end_cleanly() -> None:
    """A signal to end (from `timeout`, say) unwinds, and so stops what was started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextmanager
def session(description: str | None, rounds: int) -> Iterator[Session]:
    """Parse the command line and have an engine with busybox. Parameters: `rounds`: how many unless asked otherwise."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD")
    options = parser.parse_args()
    end_cleanly()
    base = Path(tempfile.mkdtemp(prefix="dsk-bench-", dir="/tmp"))
    os.environ[BASE_VARIABLE] = str(base)
    engine, dockerd = Engine(new_settings("b")), peers.Dockerd(base / "dockerd")
    try:
        engine.start()
        engine.import_busybox()
        yield Session(base, engine, dockerd, options.rounds, options.only)
    finally:
        engine.stop()
        dockerd.stop()
        peers.remove_cgroups()
        shutil.rmtree(base, ignore_errors=True)
