"""A mixed load on an engine that is being hurt, and a ledger of what was asked and answered, to hold against it."""

from __future__ import annotations

import itertools
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from support.api import NO_ANSWER, Answer, Api
from support.engines import BUSYBOX, Engine

_COUNT = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done"
# What a start may answer whose launcher or monitor was killed under it.
_HURT = ("the launcher ended while it started", "the process was killed while it was being set up")


@dataclass
class Entry:
    """One container: what was asked of it, and what is therefore certain."""

    name: str
    code: int | None  # with which it ends by itself; None for one that runs on
    id: str = ""
    created: bool = False  # the engine has said so
    started: bool = False
    removal: bool = False  # asked for; it may be gone
    removed: bool = False
    stopped: bool = False  # a stop or kill was asked for: 137 is then right


@dataclass
class Ledger:
    """All containers that were asked for."""

    entries: dict[str, Entry] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)

    def new(self, name: str, code: int | None) -> Entry:
        made = self.entries[name] = Entry(name, code)
        return made


class Load:
    """Threads that work until told to end. Each has containers of its own, so that each knows what to expect."""

    def __init__(self, engine: Engine, seed: int, workers: int = 3) -> None:
        self.ledger = Ledger()
        self._engine = engine
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(number, random.Random(seed + number)), name=f"load {number}")
            for number in range(workers)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _work(self, worker: int, chance: random.Random) -> None:
        api = Api(self._engine.socket, timeout=30)
        counter: Entry | None = None
        for number in itertools.count():
            if self._ended.is_set():
                break
            try:
                if counter is None or chance.random() < 0.05:
                    counter = self._counter(api, f"counter-{worker}-{number}", chance)
                elif chance.random() < 0.6:
                    self._brief(api, f"brief-{worker}-{number}", chance)
                elif chance.random() < 0.5:
                    self._exec(api, counter, chance)
                else:
                    self._up_and_down(api, counter, chance)
            except NO_ANSWER:
                time.sleep(0.02)  # the service is down; whoever killed it starts it again
        api.close()

    def _ask(self, api: Api, method: str, path: str, *allowed: int, body: Any = None, **query: object) -> Answer:
        answer = api.ask(method, path, body, **query)
        hurt = answer.status in (400, 500) and any(words in answer.text for words in _HURT)
        if answer.status not in allowed and not hurt:
            self.ledger.surprises.append(f"{method} {path}: {answer}")
        return answer

    def _make(self, api: Api, entry: Entry, script: str, network: str) -> None:
        host = {"NetworkMode": network}
        body = {"Image": BUSYBOX, "Cmd": ["sh", "-c", script], "HostConfig": host}
        entry.id = self._ask(api, "POST", "/containers/create", 201, body=body, name=entry.name).body["Id"]
        entry.created = True

    def _counter(self, api: Api, name: str, chance: random.Random) -> Entry:
        entry = self.ledger.new(name, None)
        self._make(api, entry, _COUNT, chance.choice(("none", "bridge")))
        if self._ask(api, "POST", f"/containers/{entry.id}/start", 204).status == 204:
            entry.started = True
        return entry

    def _brief(self, api: Api, name: str, chance: random.Random) -> None:
        entry = self.ledger.new(name, chance.randrange(1, 100))
        pause = chance.choice((0, 0, 0.05, 0.3))
        self._make(api, entry, f"echo {name}; sleep {pause}; exit {entry.code}", chance.choice(("none", "bridge")))
        if self._ask(api, "POST", f"/containers/{entry.id}/start", 204).status != 204:
            return
        entry.started = True
        if chance.random() < 0.5:
            self._ask(api, "POST", f"/containers/{entry.id}/wait", 200)
        if chance.random() < 0.5:
            entry.removal = entry.stopped = True
            if self._ask(api, "DELETE", f"/containers/{entry.id}", 204, force="1").status == 204:
                entry.removed = True

    def _exec(self, api: Api, entry: Entry, chance: random.Random) -> None:
        code = chance.randrange(1, 100)
        body = {"Cmd": ["sh", "-c", f"exit {code}"], "AttachStdout": True}
        made = self._ask(api, "POST", f"/containers/{entry.id}/exec", 201, 409, body=body)
        if made.status != 201:
            return
        ran = self._ask(api, "POST", f"/exec/{made.body['Id']}/start", 200, 404, 409, body={"Detach": True})
        found = self._ask(api, "GET", f"/exec/{made.body['Id']}/json", 200, 404)
        # One whose container had ended before it was started has no code.
        codes = (code, 137, 126, 128) if ran.status == 200 else (None, 126, 128)
        if found.status == 200 and not found.body["Running"] and found.body["ExitCode"] not in codes:
            self.ledger.surprises.append(f"exec that exits with {code}: {found.body['ExitCode']}")

    def _up_and_down(self, api: Api, entry: Entry, chance: random.Random) -> None:
        what = chance.choice(("stop", "kill", "restart", "start"))
        entry.stopped = True
        self._ask(
            api, "POST", f"/containers/{entry.id}/{what}", 204, 304, 409, **({"t": "0"} if what != "kill" else {})
        )
