"""Random sequences of calls against a small model of Docker's state machine: each call gets Docker's answer."""

from __future__ import annotations

import asyncio
import os
import shutil

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from dosirak.engine.errors import Conflict, EngineError, NotFound, NotModified
from support.engines import new_settings

from .conftest import Rig

NAMES = st.sampled_from(["one", "two", "three"])


class Lifecycle(RuleBasedStateMachine):
    """The model: name → [id, state]. Containers run `sleep 1000`, so they end only when told to."""

    shelf = None

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.rig = Rig(new_settings("m"), self.shelf)
        self.call(self.rig.open())
        self.model = {}

    def call(self, coroutine):
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 30))

    def answer(self, coroutine, expected):
        """Do it; what comes back must be the expected error class, or nothing."""
        try:
            self.call(coroutine)
            got = None
        except EngineError as error:
            got = type(error)
        assert got is expected, f"{got} instead of {expected}"

    def state(self, name):
        return self.model.get(name, [None, "none"])[1]

    @rule(name=NAMES)
    def create(self, name):
        if name in self.model:
            self.answer(self.rig.create("sleep", "1000", name=name), Conflict)
            return
        self.model[name] = [self.call(self.rig.create("sleep", "1000", name=name)), "created"]

    @rule(name=NAMES)
    def start(self, name):
        expected = {"none": NotFound, "running": NotModified}.get(self.state(name))
        self.answer(self.rig.containers.start(name), expected)
        if expected is None:
            self.model[name][1] = "running"

    @rule(name=NAMES)
    def stop(self, name):
        expected = {"none": NotFound, "created": NotModified, "exited": NotModified}.get(self.state(name))
        self.answer(self.rig.containers.stop(name, timeout=0), expected)
        if expected is None:
            self.model[name][1] = "exited"

    @rule(name=NAMES)
    def kill(self, name):
        expected = {"none": NotFound, "created": Conflict, "exited": Conflict}.get(self.state(name))
        self.answer(self.rig.containers.kill(name), expected)
        if expected is None:
            self.model[name][1] = "exited"

    @rule(name=NAMES)
    def restart(self, name):
        expected = NotFound if self.state(name) == "none" else None
        self.answer(self.rig.containers.restart(name, timeout=0), expected)
        if expected is None:
            self.model[name][1] = "running"

    @rule(name=NAMES, force=st.booleans())
    def remove(self, name, force):
        expected = {"none": NotFound, "running": None if force else Conflict}.get(self.state(name))
        self.answer(self.rig.containers.remove(name, force=force), expected)
        if expected is None:
            del self.model[name]

    @rule(old=NAMES, new=NAMES)
    def rename(self, old, new):
        if old == new:
            return
        expected = NotFound if old not in self.model else Conflict if new in self.model else None
        self.answer(self.rig.containers.rename(old, new), expected)
        if expected is None:
            self.model[new] = self.model.pop(old)

    @rule(name=NAMES)
    def exec(self, name):
        if self.state(name) != "running":
            return
        assert self.call(self.rig.exec(name, "echo", name)) == (0, f"{name}\n", "")

    @rule()
    def service_restarts(self):
        self.call(self.rig.close())
        self.call(self.rig.open())

    @invariant()
    def engine_and_model_agree(self):
        found = {entry.name: [entry.id, entry.state.status] for entry in self.rig.containers.list(all=True)}
        assert found == self.model
        for entry in self.rig.containers.list(all=True):
            assert entry.state.running == bool(entry.state.pid) == os.path.exists(f"/proc/{entry.state.pid or 'none'}")

    def teardown(self):
        self.call(self.rig.end())
        self.loop.close()
        shutil.rmtree(self.rig.settings.data.parent)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_sequence_of_calls_gets_dockers_answers(shelf):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    Lifecycle.shelf = shelf
    chosen = settings(
        max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    run_state_machine_as_test(Lifecycle, settings=chosen)
