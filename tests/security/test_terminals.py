"""Terminals: whatever a container does to its own, the user's stays his (TIOCSTI, TIOCLINUX; CVE-2023-28100)."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tty
from collections.abc import Iterator

import pytest

from support.engines import Engine

from .conftest import HOST_IMAGE, command

TYPED = b"touch /tmp/owned\n"
TIOCLINUX = 0x541C

# Types into each terminal it can find, asks the console to paste, and says what the kernel said.
ATTACK = f"""
import fcntl, glob, json, os
found = {{}}
for path in ["/dev/tty", "/dev/console", "/proc/self/fd/0", *glob.glob("/dev/pts/[0-9]*")]:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    except OSError as error:
        found[path] = -error.errno
        continue
    said = []
    typing = [(0x5412, bytes([c])) for c in {TYPED!r}]
    for request, argument in [*typing, ({TIOCLINUX}, bytes([3])), ({TIOCLINUX}, bytes([2]))]:
        try:
            fcntl.ioctl(fd, request, argument)
            said.append(0)
        except OSError as error:
            said.append(error.errno)
    found[path] = said[-2:], os.major(os.fstat(fd).st_dev), os.minor(os.fstat(fd).st_dev)
print(json.dumps(found))
"""


class Person:
    """A terminal with somebody in front of it who types nothing."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)

    def run(self, engine: Engine, *arguments: str) -> str:
        """The docker CLI on this terminal, to its end; what it showed."""
        process = subprocess.Popen(
            ["docker", *arguments],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=engine.environment(),
            start_new_session=True,
        )
        shown = b""
        while True:
            if select.select([self.master], [], [], 0.2)[0]:
                shown += os.read(self.master, 65536)
            elif process.poll() is not None:
                return shown.decode(errors="replace")

    @property
    def typed(self) -> bytes:
        """What waits to be read by the next program at this terminal."""
        return os.read(self.slave, 4096) if select.select([self.slave], [], [], 0)[0] else b""

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def person() -> Iterator[Person]:
    made = Person()
    yield made
    made.close()


@pytest.mark.parametrize("way", ["run", "exec"])
def test_nothing_is_typed_into_the_users_terminal(engine: Engine, person: Person, way: str) -> None:
    if way == "run":
        shown = person.run(engine, "run", "--rm", "-it", HOST_IMAGE, *command(ATTACK))
    else:
        name = engine.docker("run", "-d", HOST_IMAGE, "sleep", "600").stdout.strip()
        shown = person.run(engine, "exec", "-it", name, *command(ATTACK))
    found = json.loads(shown[shown.index("{") : shown.rindex("}") + 1])
    assert person.typed == b""
    host = os.fstat(person.slave)
    # Nor is any terminal in there the user's, or the machine's console.
    places = {tuple(said[1:]) for said in found.values() if not isinstance(said, int)}
    assert places
    assert (os.major(host.st_dev), os.minor(host.st_dev)) not in places
    assert all(0 not in said[0] for said in found.values() if not isinstance(said, int))


def test_a_process_that_holds_the_terminal_itself_could(person: Person) -> None:
    # The control: a runtime that hands the user's terminal on would be caught by the test above.
    code = (
        "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        f"for c in {TYPED!r}: fcntl.ioctl(0, termios.TIOCSTI, bytes([c]))"
    )
    done = subprocess.run(["python3", "-c", code], stdin=person.slave, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("this kernel lets nobody type for others (dev.tty.legacy_tiocsti=0)")
    assert person.typed == TYPED


def test_a_container_without_a_terminal_has_none_to_take(engine: Engine, person: Person) -> None:
    # The caller's, the machine's console, a getty's: none can be opened by its number.
    code = """
import fcntl, json, os
found = []
for major, minor in [(1, 3), (5, 0), (5, 1), (4, 0), (4, 1), (4, 64), *[(136, n) for n in range(32)]]:
    node = "/tmp/tty"
    os.mknod(node, 0o20666, os.makedev(major, minor))
    try:
        fd = os.open(node, os.O_RDWR | os.O_NOCTTY)
        found.append([major, minor])
        os.close(fd)
    except OSError:
        pass
    os.unlink(node)
print(json.dumps(found))
"""
    said = engine.docker("run", "--rm", HOST_IMAGE, *command(code)).stdout
    assert json.loads(said) == [[1, 3]]  # the control: null can
