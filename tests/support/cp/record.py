"""Record what a real dockerd makes of the cases: `python tests/support/cp/record.py`, by hand, as root.

It starts a dockerd of its own (Debian: docker.io) with data in a temporary folder, and writes recorded.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.peers import Dockerd
from support.cp.cases import play


def main() -> None:
    """Play and write."""
    with tempfile.TemporaryDirectory() as name:
        daemon = Dockerd(Path(name) / "daemon")
        daemon.start()

        def docker(*arguments: str, stdin: bytes | None = None, check: bool = True, text: bool = True, **options: Any):
            done = subprocess.run(
                ["docker", *arguments], input=stdin or b"", capture_output=True, env=daemon.environment, **options
            )
            if check and done.returncode:
                raise SystemExit(done.stderr.decode())
            return done

        try:
            local = Path(name) / "local"
            local.mkdir()
            found = play(docker, "busybox", local)
        finally:
            daemon.stop()
    target = Path(__file__).with_name("recorded.json")
    target.write_text(json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
