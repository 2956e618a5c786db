"""Progress → the JSON messages of Docker's classic builder, as `docker build` and docker-py read them.

Pure: no clock, no I/O. The classic builder runs one step at a time; ours may run several. A `Renderer` keeps the
classic order: the lowest unfinished step speaks live, what higher ones say waits until it is their turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dosirak.engine.build import model

Message = dict[str, Any]
"""One JSON object of the stream: {"stream": …}, {"aux": {"ID": …}} or {"errorDetail": …, "error": …}."""

_RED, _PLAIN = "\x1b[91m", "\x1b[0m"


def error_message(message: str, code: int = 0) -> Message:
    """The message that ends a failed build's stream."""
    detail: Message = {"message": message}
    if code:
        detail = {"code": code, "message": message}
    return {"errorDetail": detail, "error": message}


class Renderer:
    """Renders one build's events, fed in the order they happened.

    Parameters: `quiet` as the API's `q`: nothing but the image's id, or the whole story after all when it fails.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._steps: tuple[model.StepInfo, ...] = ()
        self._current = 1
        self._waiting: dict[int, list[Message]] = {}
        self._finished: set[int] = set()
        self._containers: dict[int, str] = {}
        self._held: list[Message] = []

    def feed(self, progress: model.Progress) -> list[Message]:
        """The messages to send now because of this event; often none, or those of several steps."""
        messages = self._render(progress)
        if not self._quiet:
            return messages
        if isinstance(progress, model.BuildFinished):
            return [_stream(f"{progress.image}\n")]
        self._held += messages
        return self._held if isinstance(progress, model.BuildFailed) else []

    def _render(self, progress: model.Progress) -> list[Message]:
        match progress:
            case model.BuildStarted(steps=steps):
                self._steps = steps
                return []
            case model.BuildWarning(message=message):
                return [_stream(f"[Warning] {message}\n")]
            case model.BuildFinished(image=image, tags=tags):
                return self._drain() + _success(image, tags)
            case model.BuildFailed(message=message, code=code):
                return [*self._drain(), error_message(message, code)]
            case _:
                return self._step_event(progress)

    def _step_event(self, progress: model.Progress) -> list[Message]:
        step = getattr(progress, "step", 0)
        self._waiting.setdefault(step, []).extend(self._step_messages(step, progress))
        if isinstance(progress, model.StepFinished):
            self._finished.add(step)
        messages: list[Message] = []
        while True:
            messages += self._waiting.pop(self._current, [])
            if self._current not in self._finished:
                return messages
            self._current += 1

    def _step_messages(self, step: int, progress: model.Progress) -> list[Message]:
        match progress:
            case model.StepStarted():
                return [_stream(f"Step {step}/{len(self._steps)} : {self._steps[step - 1].text}\n")]
            case model.StepCached():
                return [_stream(" ---> Using cache\n")]
            case model.StepRunning(container=container):
                self._containers[step] = container
                return [_stream(f" ---> Running in {container[:12]}\n")]
            case model.StepOutput(stream=stream, data=data):
                text = data.decode(errors="replace")
                return [_stream(f"{_RED}{text}{_PLAIN}" if stream == 2 else text)]
            case model.StepFinished(state=state):
                container = self._containers.pop(step, "")
                removed = [_stream(f" ---> Removed intermediate container {container[:12]}\n")] if container else []
                return [*removed, *([_stream(f" ---> {state[:12]}\n")] if state else [])]
            case _:
                return []

    def _drain(self) -> list[Message]:
        """Everything that still waits: when a build fails, what its other steps had said is shown too."""
        waiting, self._waiting = self._waiting, {}
        return [message for step in sorted(waiting) for message in waiting[step]]


def render(events: Iterable[model.Progress], quiet: bool = False) -> list[Message]:
    """All messages of a finished stream of events."""
    renderer = Renderer(quiet)
    return [message for event in events for message in renderer.feed(event)]


def _success(image: str, tags: tuple[str, ...]) -> list[Message]:
    short = image.removeprefix("sha256:")[:12]
    tagged = [_stream(f"Successfully tagged {tag}\n") for tag in tags]
    return [{"aux": {"ID": image}}, _stream(f"Successfully built {short}\n"), *tagged]


def _stream(text: str) -> Message:
    return {"stream": text}
