"""Random sequences of calls on a real engine against a small model of Docker's state machine (`model.py`).

Each call gets the model's status and text; states, lists and logs are the model's after every call; between them the
service is killed and comes back. `DOSIRAK_TESTS_SEED` runs a sequence again, `DOSIRAK_TESTS_LONG=1` takes minutes.
"""

from __future__ import annotations

import re
import time
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from support import invariants, seeds
from support.api import Answer, Api
from support.engines import BUSYBOX, Engine, wait_for

from .model import KINDS, OK, Modelled

NAMES = st.sampled_from(["one", "two", "three"])
REFS = st.sampled_from(["name", "/name", "id", "short"])
SIGNALS = st.sampled_from(["KILL", "SIGTERM", "15", "USR1", "HUP", "NONSENSE"])
NUMBERS = {"KILL": "KILL", "SIGTERM": "TERM", "15": "TERM", "USR1": "USR1", "HUP": "HUP"}


class Machine(RuleBasedStateMachine):
    """Drives the engine; `model` is name → what the container should be."""

    engine: ClassVar[Engine]
    api: ClassVar[Api]

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, Modelled] = {}
        self.removed: set[str] = set()
        self.kills_left = 3 if seeds.LONG else 1

    # Helpers

    def ref(self, name: str, how: str) -> str:
        found = self.model.get(name)
        if found is None or how == "name":
            return name
        return {"/name": f"/{name}", "id": found.id, "short": found.id[:12]}[how]

    def expect(self, answer: Answer, expected: tuple[int, str]) -> bool:
        """Whether it worked; fails the test when it should have gone the other way, or with other words.

        "…" in the text stands for anything.
        """
        status, text = expected
        assert answer.status == status, (answer, expected)
        assert re.fullmatch(".*".join(map(re.escape, text.split("…"))), answer.text), (answer, expected)
        return status < 300

    def missing(self, name: str, answer: Answer) -> bool:
        """Whether there is no such container, and the answer said so."""
        if name in self.model:
            return False
        self.expect(answer, (404, f"No such container: {name}"))
        return True

    def has_started(self, name: str) -> None:
        """Follow a start that was answered with success: until its handlers are set, or until it has ended."""
        found = self.model[name]
        found.started()
        if found.running and found.kind.says_ready:
            wait_for(lambda: self.log(found) == b"ready\n" * found.runs, 20, f"{name} to be ready")
        elif not found.running:
            self.has_ended(name)

    def has_ended(self, name: str) -> None:
        """Wait until the engine knows of an end that is on its way."""
        found = self.model[name]
        gone = found.state == "gone"
        answer = self.api.post(f"/containers/{found.id}/wait", condition="removed" if gone else "not-running")
        if gone:
            assert answer.status in (200, 404), answer
            self.forget(name)
        assert answer.status == 404 or answer.body["StatusCode"] == found.code, (answer, found)

    def forget(self, name: str) -> None:
        self.removed.add(self.model.pop(name).id)

    def log(self, found: Modelled) -> bytes:
        body = self.api.get(f"/containers/{found.id}/logs", stdout="1").body or b""
        said = b""
        while body:
            size = int.from_bytes(body[4:8], "big")
            said, body = said + body[8 : 8 + size], body[8 + size :]
        return said

    # Calls

    @rule(name=NAMES, kind=st.sampled_from(sorted(KINDS)))
    def create(self, name: str, kind: str) -> None:
        chosen = KINDS[kind]
        host = {
            "NetworkMode": chosen.network,
            "AutoRemove": chosen.auto_remove,
            "RestartPolicy": {"Name": chosen.policy},
        }
        body = {"Image": BUSYBOX, "Cmd": list(chosen.command), "HostConfig": host}
        answer = self.api.post("/containers/create", body, name=name)
        if name in self.model:
            self.expect(answer, (409, self.in_use(name)))
        elif self.expect(answer, (201, "")):
            self.model[name] = Modelled(answer.body["Id"], chosen)

    def in_use(self, name: str) -> str:
        return (
            f'Conflict. The container name "/{name}" is already in use by container "{self.model[name].id}". You have'
            " to remove (or rename) that container to be able to reuse that name."
        )

    @rule(name=NAMES, how=REFS)
    def start(self, name: str, how: str) -> None:
        answer = self.api.post(f"/containers/{self.ref(name, how)}/start")
        if not self.missing(name, answer):
            found = self.model[name]
            if self.expect(answer, found.on_start()):
                self.has_started(name)
            elif found.kind.fails is not None:
                found.failed()

    @rule(name=NAMES, how=REFS)
    def restart(self, name: str, how: str) -> None:
        ref, found = self.ref(name, how), self.model.get(name)
        answer = self.api.post(f"/containers/{ref}/restart", t="10" if found and found.kind.traps else "0")
        if found is None:
            self.missing(name, answer)
        elif self.expect(answer, found.on_restart(ref)):
            self.has_started(name)
        else:
            found.failed()

    @rule(name=NAMES, how=REFS)
    def stop(self, name: str, how: str) -> None:
        found = self.model.get(name)
        traps = found.kind.traps if found else {}
        answer = self.api.post(f"/containers/{self.ref(name, how)}/stop", t="10" if traps else "0")
        if found is None:
            self.missing(name, answer)
        elif self.expect(answer, OK if found.running else (304, "")):
            found.ended(traps.get("TERM", 137))
            self.has_ended(name)

    @rule(name=NAMES, how=REFS, signal=SIGNALS)
    def kill(self, name: str, how: str, signal: str) -> None:
        ref, found = self.ref(name, how), self.model.get(name)
        answer = self.api.post(f"/containers/{ref}/kill", signal=signal)
        if found is None:
            text = "invalid signal: NONSENSE" if signal == "NONSENSE" else f"No such container: {name}"
            self.expect(answer, (400 if signal == "NONSENSE" else 404, f"cannot kill container: {ref}: {text}"))
        elif self.expect(answer, found.on_kill(ref, signal)):
            if found.state == "paused":
                found.state = "running"  # no stop signal of its own: any signal thaws it
            code = 137 if signal == "KILL" else found.kind.traps.get(NUMBERS[signal])
            if code is not None:
                found.ended(code)
                self.has_ended(name)

    @rule(name=NAMES, how=REFS)
    def pause(self, name: str, how: str) -> None:
        answer = self.api.post(f"/containers/{self.ref(name, how)}/pause")
        if not self.missing(name, answer) and self.expect(answer, self.model[name].on_pause()):
            self.model[name].state = "paused"

    @rule(name=NAMES, how=REFS)
    def unpause(self, name: str, how: str) -> None:
        answer = self.api.post(f"/containers/{self.ref(name, how)}/unpause")
        if not self.missing(name, answer) and self.expect(answer, self.model[name].on_unpause()):
            self.model[name].state = "running"

    @rule(name=NAMES, how=REFS, force=st.booleans())
    def remove(self, name: str, how: str, force: bool) -> None:
        ref = self.ref(name, how)
        answer = self.api.delete(f"/containers/{ref}", force="1" if force else "0")
        if not self.missing(name, answer) and self.expect(answer, self.model[name].on_remove(ref, force)):
            self.forget(name)

    @rule(old=NAMES, how=REFS, new=NAMES)
    def rename(self, old: str, how: str, new: str) -> None:
        answer = self.api.post(f"/containers/{self.ref(old, how)}/rename", name=new)
        if self.missing(old, answer):
            return
        if old == new:
            self.expect(answer, (400, "Renaming a container with the same name as its current name"))
        elif new in self.model:
            self.expect(answer, (409, f"Error when allocating new name: {self.in_use(new)}"))
        elif self.expect(answer, OK):
            self.model[new] = self.model.pop(old)

    @rule(name=NAMES, how=REFS)
    def exec(self, name: str, how: str) -> None:
        ref = self.ref(name, how)
        command = ["sh", "-c", f"echo {name}; exit 5"]
        answer = self.api.post(f"/containers/{ref}/exec", {"Cmd": command, "AttachStdout": True})
        if self.missing(name, answer) or not self.expect(answer, self.model[name].on_exec(ref)):
            return
        exec_id = answer.body["Id"]
        with self.api.hijacked(f"/exec/{exec_id}/start", {}) as stream:
            said = b"".join(iter(lambda: stream.recv(65536), b""))
        assert said.endswith(f"{name}\n".encode()), said
        inspect = self.api.need("GET", f"/exec/{exec_id}/json")
        assert (inspect["Running"], inspect["ExitCode"]) == (False, 5)

    @rule(name=NAMES, how=REFS)
    def attach_and_leave(self, name: str, how: str) -> None:
        with self.api.hijacked(f"/containers/{self.ref(name, how)}/attach?stream=1&stdout=1") as stream:
            head = stream.recv(65536)
        paused = name in self.model and self.model[name].state == "paused"
        expected = b"404" if name not in self.model else b"409" if paused else b"101"
        assert head.split()[1] == expected, head

    @rule(name=NAMES, how=REFS)
    def wait_for_what_has_ended(self, name: str, how: str) -> None:
        found = self.model.get(name)
        if found is None or not found.running:
            answer = self.api.post(f"/containers/{self.ref(name, how)}/wait")
            if not self.missing(name, answer):
                assert found is not None
                assert (answer.status, answer.body["StatusCode"]) == (200, found.code), (answer, found)

    @rule()
    def prune(self) -> None:
        answer = self.api.post("/containers/prune")
        idle = [name for name, found in self.model.items() if not found.running]
        assert sorted(answer.body["ContainersDeleted"] or []) == sorted(self.model[name].id for name in idle)
        for name in idle:
            self.forget(name)

    @precondition(lambda self: self.kills_left > 0 and self.model)
    @rule(really=st.integers(0, 7))
    def service_is_killed_and_comes_back(self, really: int) -> None:
        if really == 0:
            self.kills_left -= 1
            self.api.close()
            self.engine.kill()
            self.engine.start()

    # After each call

    @invariant()
    def lists_are_the_models(self) -> None:
        states = {name: found.state for name, found in self.model.items()}
        assert self.listed(all="1") == states
        running = {name: state for name, state in states.items() if state in ("running", "paused")}
        assert self.listed() == running
        assert self.listed(filters='{"status":["exited"]}') == {n: s for n, s in states.items() if s == "exited"}

    def listed(self, **query: str) -> dict[str, str]:
        rows = self.api.need("GET", "/containers/json", **query)
        return {row["Names"][0].removeprefix("/"): row["State"] for row in rows}

    @invariant()
    def inspect_is_the_models(self) -> None:
        for name, found in self.model.items():
            inspect = self.api.need("GET", f"/containers/{name}/json")
            state = inspect["State"]
            assert (inspect["Id"], state["Status"], state["ExitCode"]) == (found.id, found.state, found.code), state
            assert not (found.running and list(invariants.wrong_state(inspect))), inspect["State"]
            assert inspect["RestartCount"] == found.restarts

    def teardown(self) -> None:
        if self.model or self.removed:
            invariants.check(self.engine, self.api, self.removed)
            for name, found in self.model.items():
                if found.kind.says_ready:
                    assert self.log(found) == b"ready\n" * found.runs, name
        for row in invariants.listed(self.api):
            self.api.delete(f"/containers/{row['Id']}", force="1")


@pytest.mark.slow
@pytest.mark.timeout(1800 if seeds.LONG else 150)
def test_every_sequence_of_calls_gets_dockers_answers(fresh_engine: Engine, api: Api) -> None:
    number = seeds.seed()
    Machine.engine, Machine.api = fresh_engine, api
    chosen = settings(
        max_examples=400 if seeds.LONG else 25,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate, *([Phase.shrink] if seeds.LONG else [])],
    )
    begun = time.monotonic()
    run_state_machine_as_test(seed(number)(Machine), settings=chosen)
    print(f"took {time.monotonic() - begun:.1f} s")
