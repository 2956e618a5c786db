"""A clock that is set back or forth: durations and orders don't come from it, and nothing is taken for what it is not.

The machine's clock is everybody's, so the service gets one of its own: a `sitecustomize` shifts what Python tells it as
the time of day. Monitors (which start without it) keep the machine's: to the service, they are from another time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engines import Engine, alive, new_settings, wait_for

from .conftest import container_pid

_SHIFT = """
import os, time
_now, _now_ns, _file = time.time, time.time_ns, os.environ["DOSIRAK_TESTS_CLOCK"]
def _shift():
    try:
        with open(_file) as file:
            return float(file.read() or 0)
    except OSError:
        return 0.0
time.time = lambda: _now() + _shift()
time.time_ns = lambda: _now_ns() + int(_shift() * 1e9)
"""


class Clock:
    """The service's clock, in seconds ahead of the machine's."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, ahead: float) -> None:
        self._file.write_text(str(ahead))


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the engine that starts next."""
    (tmp_path / "sitecustomize.py").write_text(_SHIFT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("DOSIRAK_TESTS_CLOCK", str(tmp_path / "clock"))
    return Clock(tmp_path / "clock")


@pytest.fixture
def engine(clock: Clock) -> Iterator[Engine]:
    """An engine with a clock of its own."""
    made = Engine(new_settings("t")).start()
    clock.set(86400 * 365 * 50)
    created = made.client.api.inspect_container(made.client.api.create_container(made.import_busybox())["Id"])[
        "Created"
    ]
    clock.set(0)
    made.remove_containers()
    assert created > "2070", "the clock is the machine's"
    yield made
    made.stop()


@pytest.mark.parametrize("ahead", [-7200, 7200])
def test_an_end_that_no_service_saw_is_taken_up_whatever_the_clock_says(
    engine: Engine, clock: Clock, ahead: float
) -> None:
    image = engine.import_busybox()
    clock.set(-ahead)
    engine.docker("run", "-d", "--name", "brief", image, "sh", "-c", "sleep 0.4; exit 7")
    engine.docker("run", "-d", "--name", "other", image, "sleep", "600")
    pid, other = container_pid(engine, "brief"), container_pid(engine, "other")
    engine.close_client()
    engine.kill()
    wait_for(lambda: not alive(pid), 10, "its end")
    clock.set(ahead)
    engine.start()
    state = engine.client.api.inspect_container("brief")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 7)
    assert container_pid(engine, "other") == other
    engine.docker("start", "brief")
    assert engine.docker("wait", "brief").stdout == "7\n"


def test_stops_waits_and_restarts_take_their_time_by_another_clock(engine: Engine, clock: Clock) -> None:
    image = engine.import_busybox()
    engine.docker("run", "-d", "--name", "stubborn", image, "sleep", "600")
    engine.docker("run", "-d", "--restart", "always", "--name", "phoenix", image, "sh", "-c", "sleep 0.05; exit 1")
    stop = engine.docker_popen("stop", "-t", "2", "stubborn")
    time.sleep(0.3)
    clock.set(-86400)
    begun = time.monotonic()
    assert stop.wait(30) == 0
    assert time.monotonic() - begun < 15
    seen = engine.client.api.inspect_container("phoenix")["RestartCount"]
    wait_for(lambda: engine.client.api.inspect_container("phoenix")["RestartCount"] > seen, 20, "a restart")
    engine.docker("rm", "-f", "phoenix")
    for ahead in (86400, 0, -3600):
        clock.set(ahead)
        assert engine.docker("run", "--rm", image, "echo", "fine").stdout == "fine\n"


def test_what_people_are_shown_stays_sensible_when_the_clock_went_back(engine: Engine, clock: Clock) -> None:
    image = engine.import_busybox()
    engine.docker("run", "-d", "--name", "one", image, "sh", "-c", "echo said; sleep 600")
    clock.set(-3600)
    assert engine.docker("ps", "--format", "{{.Status}}").stdout == "Up Less than a second\n"
    assert engine.docker("logs", "one").stdout == "said\n"
    events = engine.docker_popen("events", "--filter", "container=one", "--format", "{{.Action}}")
    time.sleep(0.3)
    engine.docker("kill", "one")
    assert [events.stdout.readline().strip() for _ in range(2)] == ["kill", "die"]
    events.kill()
    events.communicate()
    assert engine.docker("ps", "-a", "--format", "{{.Status}}").stdout == "Exited (137) Less than a second ago\n"
