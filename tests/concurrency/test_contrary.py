"""Two or more clients do contrary things to one container at the same moment, again and again: each gets one of the
answers Docker has for it, and what is left agrees with itself (`support.invariants`).

`DOSIRAK_TESTS_LONG=1` takes a thousand rounds of each case, which then is a test of its own (`-k "stop-restart"`): a
thousand rounds take one to two minutes on a quiet machine, all of them together more than any one timeout should be.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from support import invariants, seeds
from support.api import Answer, Api
from support.engines import BUSYBOX, Engine

ROUNDS = 1000 if seeds.LONG else 12
GONE = (404, "No such container: …")
NOT_RUNNING = (409, "…is not running")
MARKED = (409, "container is marked for removal and cannot be started")
IN_PROGRESS = (409, "removal of container … is already in progress")
SAME_NAME = (400, "Renaming a container with the same name as its current name")
IN_USE = 'Conflict. The container name "/…" is already in use by container …'
TAKEN = (409, f"Error when allocating new name: {IN_USE}")
DONE, NOT_MODIFIED = (204, ""), (304, "")


@dataclass(frozen=True)
class Call:
    """One client's call on container `xx`, and the answers it may get ("…" stands for anything)."""

    method: str
    path: str
    allowed: tuple[tuple[int, str], ...]
    body: Any = None

    def ask(self, api: Api) -> Answer:
        return api.ask(self.method, self.path, self.body)

    def check(self, answer: Answer) -> None:
        for status, text in self.allowed:
            pattern = ".*".join(map(re.escape, text.split("…")))
            if answer.status == status and re.fullmatch(pattern, answer.text, re.DOTALL):
                return
        raise AssertionError(f"{self.method} {self.path}: {answer} is none of {self.allowed}")


def post(path: str, *allowed: tuple[int, str], body: Any = None) -> Call:
    return Call("POST", f"/containers/{path}", allowed, body)


START = post("xx/start", DONE, NOT_MODIFIED, MARKED, GONE)
STOP = post("xx/stop?t=0", DONE, NOT_MODIFIED, GONE)
RESTART = post("xx/restart?t=0", DONE, (500, f"Cannot restart container xx: {MARKED[1]}"), (500, "Cannot…such…"), GONE)
KILL = post(
    "xx/kill", DONE, (409, "cannot kill container: xx: …is not running"), (404, "cannot kill container: xx: No such…")
)
REMOVE = Call(
    "DELETE",
    "/containers/xx",
    (DONE, GONE, IN_PROGRESS, (409, 'cannot remove container "xx": container is running: stop the container before…')),
)
FORCE = Call("DELETE", "/containers/xx?force=1", (DONE, GONE, IN_PROGRESS))
EXEC = post("xx/exec", (201, ""), NOT_RUNNING, GONE, body={"Cmd": ["true"], "AttachStdout": True})
WAIT = post("xx/wait", (200, ""), GONE)
INSPECT = Call("GET", "/containers/xx/json", ((200, ""), GONE))
LIST = Call("GET", "/containers/json?all=1", ((200, ""),))
LOGS = Call(
    "GET", "/containers/xx/logs?stdout=1&follow=1", ((200, ""), GONE, (409, "can not get logs from container…"))
)
TOP = Call("GET", "/containers/xx/top", ((200, ""), NOT_RUNNING, GONE))
PAUSE = post("xx/pause", DONE, NOT_RUNNING, (409, "…is already paused"), GONE)
UNPAUSE = post("xx/unpause", DONE, (500, "Container … is not paused"), GONE)
RENAMES = [post(f"xx/rename?name={name}", DONE, GONE, SAME_NAME, TAKEN) for name in ("yy", "xx")]
CREATE = Call(
    "POST",
    "/containers/create?name=xx",
    ((201, ""), (409, IN_USE)),
    {"Image": BUSYBOX, "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}},
)

Verdict = Callable[[list[Answer]], bool]


def statuses(answers: list[Answer]) -> list[int]:
    return [answer.status for answer in answers]


@dataclass(frozen=True)
class Case:
    """Calls at one moment on a container that is created or running; `holds` judges all answers together."""

    running: bool
    calls: tuple[Call, ...]
    holds: Verdict = lambda answers: True
    auto_remove: bool = False
    command: tuple[str, ...] = ("sleep", "1000")


def one(status: int) -> Verdict:
    """Exactly one client got this status."""
    return lambda answers: statuses(answers).count(status) == 1


def not_both(answers: list[Answer]) -> bool:
    """Not both were done."""
    return statuses(answers[:2]) != [204, 204]


CASES = {
    "start, start": Case(False, (START,) * 4, one(204)),
    "start, rm": Case(False, (START, REMOVE), not_both),
    "start, rm -f": Case(False, (START, FORCE), lambda answers: answers[1].status == 204),
    "start, stop": Case(False, (START, STOP)),
    "start, rename": Case(False, (START, *RENAMES), lambda answers: answers[0].status in (204, 404)),
    "stop, restart": Case(True, (STOP, RESTART), lambda answers: answers[1].status == 204),
    "stop, stop": Case(True, (STOP,) * 4, lambda answers: 204 in statuses(answers)),
    "stop, rm -f": Case(True, (STOP, FORCE), lambda answers: answers[1].status == 204),
    "restart, rm -f": Case(True, (RESTART, FORCE), lambda answers: answers[1].status == 204),
    "restart, restart": Case(True, (RESTART,) * 3, lambda answers: statuses(answers) == [204] * 3),
    "kill, kill": Case(True, (KILL,) * 3, lambda answers: 204 in statuses(answers)),
    "kill, exec": Case(True, (KILL, EXEC, EXEC), lambda answers: answers[0].status == 204),
    "kill, start": Case(True, (KILL, START), lambda answers: answers[0].status == 204),
    "kill, wait, logs": Case(True, (KILL, WAIT, LOGS), lambda answers: statuses(answers) == [204, 200, 200]),
    "rm -f, wait, logs, top": Case(True, (FORCE, WAIT, LOGS, TOP)),
    "rm, rm": Case(False, (REMOVE,) * 4, lambda answers: 204 in statuses(answers)),
    "rm -f, rm -f": Case(True, (FORCE,) * 4, lambda answers: 204 in statuses(answers)),
    "rm, rename": Case(False, (REMOVE, RENAMES[0]), lambda answers: answers[0].status in (204, 404)),
    "rm -f, create": Case(True, (FORCE, CREATE, CREATE), lambda answers: statuses(answers).count(201) <= 1),
    "rm -f, inspect, list": Case(True, (FORCE, INSPECT, LIST, INSPECT, LIST)),
    "--rm ends, rm -f": Case(False, (START, FORCE), auto_remove=True, command=("true",)),
    "--rm ends, stop, rename": Case(False, (START, STOP, RENAMES[0]), auto_remove=True, command=("true",)),
    "--rm, kill, restart": Case(True, (KILL, RESTART), auto_remove=True),
    "pause, kill": Case(True, (PAUSE, KILL), lambda answers: answers[1].status == 204),
    "pause, unpause, rm -f": Case(True, (PAUSE, UNPAUSE, FORCE), lambda answers: answers[2].status == 204),
    "pause, stop, restart": Case(True, (PAUSE, STOP, RESTART)),
}


class Clients:
    """Threads with a connection each, which all ask at one moment."""

    def __init__(self, engine: Engine, number: int, chance: random.Random) -> None:
        self._apis = [Api(engine.socket, timeout=40) for _ in range(number)]
        self._chance = chance

    def ask(self, calls: tuple[Call, ...]) -> list[Answer]:
        """Every call by a client of its own. Half of the time within the same instant, else some ms apart."""
        spread = self._chance.choice((0.0, 0.0, 0.004, 0.02))
        delays = [self._chance.uniform(0, spread) for _ in calls]
        answers: list[Answer | BaseException] = [Answer(0, None)] * len(calls)
        barrier = threading.Barrier(len(calls))

        def run(number: int) -> None:
            barrier.wait()
            time.sleep(delays[number])
            try:
                answers[number] = calls[number].ask(self._apis[number])
            except BaseException as error:
                answers[number] = error

        threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = []
        for call, answer in zip(calls, answers, strict=True):
            assert isinstance(answer, Answer), (call, answer)
            call.check(answer)
            found.append(answer)
        return found

    def close(self) -> None:
        for api in self._apis:
            api.close()


def make(api: Api, case: Case, network: str) -> str:
    """The container `xx`, running if it should."""
    host = {"NetworkMode": network, "AutoRemove": case.auto_remove}
    body = {"Image": BUSYBOX, "Cmd": list(case.command), "HostConfig": host}
    container_id: str = api.need("POST", "/containers/create", body, name="xx")["Id"]
    if case.running:
        api.need("POST", f"/containers/{container_id}/start")
    return container_id


def clear(api: Api) -> None:
    for row in invariants.listed(api):
        answer = api.delete(f"/containers/{row['Id']}", force="1")
        assert answer.status in (204, 404, 409), answer


def together() -> list[Any]:
    """The cases of each test: all in one engine, in the long form one by one."""
    if not seeds.LONG:
        return [pytest.param(list(CASES), id="all")]
    return [pytest.param([name], id=name.replace(", ", "-").replace(" ", "_")) for name in CASES]


@pytest.mark.slow
@pytest.mark.timeout(1800 if seeds.LONG else 180)
@pytest.mark.parametrize("names", together())
def test_contrary_calls_each_get_one_of_dockers_answers(fresh_engine: Engine, api: Api, names: list[str]) -> None:
    chance = random.Random(seeds.seed())
    clients = Clients(fresh_engine, 8, chance)
    removed: set[str] = set()
    for name in names:
        case = CASES[name]
        for number in range(ROUNDS):
            removed.add(make(api, case, "bridge" if number % 4 == 0 else "none"))
            answers = clients.ask(case.calls)
            assert case.holds(answers), (name, answers)
            for row in invariants.listed(api):
                inspect = api.get(f"/containers/{row['Id']}/json")
                wrong = [] if inspect.status == 404 else list(invariants.wrong_flags(inspect.body))
                assert not wrong, (name, wrong, inspect.body)
            if number % 6 == 0:
                invariants.check(fresh_engine, api, removed)
            clear(api)
        invariants.check(fresh_engine, api, removed)
        removed.clear()
    clients.close()


@pytest.mark.slow
@pytest.mark.timeout(1800 if seeds.LONG else 120)
def test_fifty_clients_at_once_on_one_container(fresh_engine: Engine, api: Api) -> None:
    clients = Clients(fresh_engine, 50, random.Random(seeds.seed()))
    x = make(api, Case(False, ()), "bridge")
    for _ in range(40 if seeds.LONG else 3):
        clients.ask((START, STOP) * 25)
        invariants.check(fresh_engine, api)
        clients.ask((RESTART, KILL, START, EXEC, INSPECT) * 10)
        invariants.check(fresh_engine, api)
    answers = clients.ask((CREATE, START, FORCE, *RENAMES) * 10)
    assert 204 in statuses(answers)
    clear(api)
    invariants.check(fresh_engine, api, {x})
    clients.close()


@pytest.mark.timeout(1800 if seeds.LONG else 120)
def test_two_containers_that_want_one_name(fresh_engine: Engine, api: Api) -> None:
    clients = Clients(fresh_engine, 6, random.Random(seeds.seed()))
    for _ in range(200 if seeds.LONG else 10):
        ids = [api.need("POST", "/containers/create", CREATE.body)["Id"] for _ in range(6)]
        answers = clients.ask(tuple(post(f"{key}/rename?name=yy", DONE, TAKEN) for key in ids))
        assert statuses(answers).count(204) == 1
        invariants.check(fresh_engine, api)
        clear(api)
        answers = clients.ask((CREATE,) * 6)
        assert statuses(answers).count(201) == 1
        clear(api)
    invariants.check(fresh_engine, api)
    clients.close()


@pytest.mark.timeout(1800 if seeds.LONG else 120)
def test_attach_and_removal_at_once_leave_no_client_hanging(fresh_engine: Engine, api: Api) -> None:
    chance = random.Random(seeds.seed())
    other = Api(fresh_engine.socket)
    for number in range(500 if seeds.LONG else 25):
        make(api, Case(number % 2 == 0, ()), "none")
        pause = chance.uniform(0, 0.006)
        remover = threading.Thread(target=lambda pause=pause: (time.sleep(pause), FORCE.ask(other)))
        remover.start()
        with api.hijacked("/containers/xx/attach?stream=1&stdout=1&stdin=1") as stream:
            stream.settimeout(20)
            said = b"".join(iter(lambda: stream.recv(65536), b""))  # ends with the container
        remover.join()
        assert said.split()[1] in (b"101", b"404", b"409"), said
    invariants.check(fresh_engine, api)
    other.close()
