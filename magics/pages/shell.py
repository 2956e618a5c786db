"""The shell behind a page: one bash, which keeps its folder, variables and functions from statement to statement."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from dosirak.magics.errors import DosirakError, Interrupted

# Statements come by one descriptor, each ended by NUL; exit statuses go back by another.
_LOOP = 'while IFS= read -r -d "" _page <&{statements}; do eval "$_page"; printf "%d\\0" "$?" >&{statuses}; done'

_PATIENCE = 10.0
"""Seconds that what is interrupted has to end by itself."""

# A page's `docker` is this package's, wherever it stands in a line; `sudo docker` is the same engine, and root needs no
# sudo, which it may not have.
_DOCKER = '#!/bin/sh\nexec "{python}" -m dosirak.magics.cli "$@"\n'
_SUDO = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
if [ "$1" = docker ] || [ "$(id -u)" = 0 ]; then exec "$@"; fi
PATH=${PATH#*:} exec sudo "$@"
"""


class Shell:
    """A context manager. Raises DosirakError where there is no bash."""

    def __init__(self, show: Callable[[int, bytes], None]) -> None:
        """Parameters: `show`: takes what is printed, with 1 or 2 for standard output or error."""
        self._show = show
        self._interrupted = False

    def __enter__(self) -> Shell:
        bash = shutil.which("bash")
        if bash is None:
            raise DosirakError("a page of commands needs bash, which is not on PATH: install it, or use %docker")
        self._folder = tempfile.TemporaryDirectory(prefix="dosirak-page-")
        tools = Path(self._folder.name)
        for name, text in (("docker", _DOCKER), ("dosirak", _DOCKER), ("sudo", _SUDO)):
            (tools / name).write_text(text.replace("{python}", sys.executable))
            (tools / name).chmod(0o755)
        self._start(bash, f"{tools}:{os.environ.get('PATH', os.defpath)}")
        return self

    def _start(self, bash: str, path: str) -> None:
        (statements, self._statements), *outward = (os.pipe() for _ in range(5))
        self._statuses, self._words, *self._outputs = (read for read, _ in outward)
        statuses, self._to_words, stdout, stderr = (write for _, write in outward)
        self._process = subprocess.Popen(  # noqa: S603  # what a person wrote for a shell
            [bash, "--norc", "--noprofile", "-c", _LOOP.format(statements=statements, statuses=statuses)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=(statements, statuses, self._to_words),
            env={**os.environ, "PATH": path},
            start_new_session=True,
        )
        for fd in (statements, statuses, self._to_words, stdout, stderr):
            os.close(fd)
        for fd in (self._statuses, self._words, *self._outputs):
            os.set_blocking(fd, False)

    def __exit__(self, *_: object) -> None:
        os.close(self._statements)
        try:
            self._process.wait(_PATIENCE if self._interrupted else None)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for fd in (self._statuses, self._words, *self._outputs):
            os.close(fd)
        self._folder.cleanup()

    @property
    def folder(self) -> str:
        """Where it is now (`cd`)."""
        return str(Path(f"/proc/{self._process.pid}/cwd").readlink())

    def run(self, text: str) -> int:
        """Run a statement, showing what it prints as it comes; its exit status. Raises Interrupted."""
        return self._do(text)[0]

    def expand(self, text: str) -> list[str]:
        """The words that the shell makes of these. Raises DosirakError when one can't be expanded."""
        if not text.strip():
            return []
        status, words = self._do(f">&{self._to_words} printf '%s\\0' {text}")
        if status:
            raise DosirakError(f"the shell can't expand: {text}", status)
        return words

    def environment(self) -> dict[str, str]:
        """What it exports."""
        _, entries = self._do(f">&{self._to_words} env -0")
        return dict(entry.split("=", 1) for entry in entries if "=" in entry)

    def _do(self, text: str) -> tuple[int, list[str]]:
        words = b""
        try:
            os.write(self._statements, text.encode(errors="surrogateescape") + b"\0")
            with selectors.DefaultSelector() as selector:
                for fd in (self._statuses, self._words, *self._outputs):
                    selector.register(fd, selectors.EVENT_READ)
                status = b""
                while not status.endswith(b"\0"):
                    for key, _ in selector.select():
                        if key.fd == self._statuses:
                            told = os.read(key.fd, 16)
                            status += told or b"%d\0" % self._process.wait()  # `exit`
                        elif key.fd == self._words:
                            words += self._read(key.fd)
                        else:
                            self._pass_on(key.fd)
        except BrokenPipeError:
            raise DosirakError("the shell of this page has ended (exit)") from None
        except KeyboardInterrupt:
            self._interrupted = True
            os.killpg(self._process.pid, signal.SIGINT)
            raise Interrupted("interrupted") from None
        words += self._read(self._words)
        for fd in self._outputs:
            self._pass_on(fd)
        parts = words.decode(errors="surrogateescape").split("\0")
        return int(status[:-1]), parts[:-1]

    def _pass_on(self, fd: int) -> None:
        while data := self._read(fd):
            self._show(1 if fd == self._outputs[0] else 2, data)

    @staticmethod
    def _read(fd: int) -> bytes:
        with contextlib.suppress(BlockingIOError):
            return os.read(fd, 65536)
        return b""
