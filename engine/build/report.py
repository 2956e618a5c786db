"""From vertices to the events of the steps a person sees."""

from __future__ import annotations

import time

from dosirak.engine.build import model
from dosirak.engine.build.graph import Step, Vertex
from dosirak.engine.build.plan import Plan
from dosirak.engine.build.states import digest

OUTPUT_LIMIT = 8 << 20
"""How many bytes of one step's output are told."""

_CLIPPED = b"\n[output clipped, log limit 8MiB reached]\n"


class Reporter:
    """Tells `sink` what happens to the plan's steps.

    A step that only changes the image's settings happens when the file system it stands on is there.
    """

    def __init__(self, build: str, plan: Plan, sink: model.ProgressSink) -> None:
        self._sink = sink
        self._steps: dict[int, list[Step]] = {}
        self._began: dict[int, float] = {}
        self._told: dict[int, int] = {}
        for step in plan.steps:
            if step.vertex is not None:
                self._steps.setdefault(id(step.vertex), []).append(step)
        infos = tuple(model.StepInfo(step.text, step.stage, step.lines.first, step.lines.last) for step in plan.steps)
        sink(model.BuildStarted(time.time(), build, infos))
        for step in plan.steps:
            if step.vertex is None:
                self._at_once(step, "")

    def warning(self, line: int, message: str) -> None:
        """Something worth telling."""
        self._sink(model.BuildWarning(time.time(), message, line))

    def started(self, vertex: Vertex) -> None:
        """Work on the vertex begins: its inputs are there. Said once however often it is called."""
        for step in self._working(vertex):
            if step.number not in self._began:
                self._began[step.number] = time.monotonic()
                self._sink(model.StepStarted(time.time(), step.number))

    def cached(self, vertex: Vertex) -> None:
        """The vertex's result was there already."""
        for step in self._working(vertex):
            self._sink(model.StepCached(time.time(), step.number))

    def running(self, vertex: Vertex, container: str) -> None:
        """The vertex's process is about to start."""
        for step in self._working(vertex):
            self._sink(model.StepRunning(time.time(), step.number, container))

    def output(self, vertex: Vertex, stream: int, data: bytes) -> None:
        """The vertex's process wrote something. Beyond `OUTPUT_LIMIT` nothing is told any more: a step that floods
        its output must not fill the memory of those who read it slowly (CVE-2022-31030)."""
        for step in self._working(vertex)[:1]:
            told = self._told.get(step.number, 0)
            if told >= OUTPUT_LIMIT:
                return
            self._told[step.number] = told + len(data)
            if told + len(data) >= OUTPUT_LIMIT:
                data = data[: OUTPUT_LIMIT - told] + _CLIPPED
            self._sink(model.StepOutput(time.time(), step.number, stream, data))

    def finished(self, vertex: Vertex, state: str) -> None:
        """The vertex is there, and with it the settings made on it."""
        for step in self._steps.get(id(vertex), []):
            if step.works:
                seconds = time.monotonic() - self._began.get(step.number, time.monotonic())
                self._sink(model.StepFinished(time.time(), step.number, state, seconds))
            else:
                state = digest("settings", state, step.text)
                self._at_once(step, state)

    def failed(self, vertex: Vertex, message: str) -> None:
        """The vertex can't be made."""
        for step in self._working(vertex)[:1]:
            self._sink(model.StepFailed(time.time(), step.number, message))

    def build_failed(self, message: str, code: int) -> None:
        """The build ended without an image."""
        self._sink(model.BuildFailed(time.time(), message, code))

    def build_finished(self, image: str, tags: tuple[str, ...]) -> None:
        """The image is there."""
        self._sink(model.BuildFinished(time.time(), image, tags))

    def _working(self, vertex: Vertex) -> list[Step]:
        return [step for step in self._steps.get(id(vertex), []) if step.works]

    def _at_once(self, step: Step, state: str) -> None:
        now = time.time()
        self._sink(model.StepStarted(now, step.number))
        self._sink(model.StepFinished(now, step.number, state, 0.0))
