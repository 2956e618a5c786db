"""`dosirak service`: the engine in the foreground, also on a machine that no network leads away from."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.engines import Engine, new_settings, wait_for
from support.patience import patient

DOSIRAK = Path(sys.executable).with_name("dosirak")


@contextmanager
def in_foreground(engine: Engine, around: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """`dosirak service` of this engine's root, ended by ^C; `around`: what it is run by."""
    settings = engine.settings
    places = {"DOSIRAK_ROOT": str(settings.data), "DOSIRAK_RUN": str(settings.run)}
    process = subprocess.Popen([*around, DOSIRAK, "service"], env=engine.environment(places))
    try:
        wait_for(lambda: settings.socket.exists() or process.poll() is not None)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(patient(10))


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine that is not running yet, removed afterwards."""
    made = Engine(new_settings("b"))
    yield made
    made.stop()


def test_it_serves_until_it_is_interrupted(engine: Engine) -> None:
    with in_foreground(engine) as process:
        assert engine.pid == process.pid
        assert engine.docker("info", "--format", "{{.OperatingSystem}}").stdout
        assert process.poll() is None
    assert process.returncode == 0
    assert not engine.settings.socket.exists()


def test_the_first_container_needs_no_network(engine: Engine) -> None:
    alone = ("unshare", "--net", "--", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")
    with in_foreground(engine, alone):
        links = engine.docker("run", "--rm", "--network", "host", "dosirak/host", "ls", "/sys/class/net").stdout.split()
        assert not [link for link in links if link.startswith("e")], "the control: no way out"
        assert engine.docker("run", "--rm", "dosirak/host", "echo", "hello").stdout == "hello\n"
