"""The classic builder's messages, read back into steps: what a view draws.

Docker's `/build` answers with a story in text ("Step 2/5 : RUN make", " ---> Using cache", …), the same from
Dosirak's engine and from any other, so the views work with all.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)", re.DOTALL)
_STATE = re.compile(r" ---> (?:\[Warning\].*|Running in \w+|\w{12})\s*")
_REMOVED = re.compile(r"(?: ---> )?Remov(?:ed|ing) intermediate container \w+\s*")
_BUILT = re.compile(r"Successfully built (\w+)\s*")
_TAGGED = re.compile(r"Successfully tagged (.+)\s*")


@dataclass
class Step:
    """One step: its number of all, its instruction, its output, and when (monotonic seconds) it began and ended."""

    number: int
    total: int
    text: str
    started: float
    ended: float | None = None
    cached: bool = False
    failed: bool = False
    output: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far."""
        return (time.monotonic() if self.ended is None else self.ended) - self.started


@dataclass
class Build:
    """A build as it stands: fed with messages, read by views."""

    name: str = ""
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    image: str = ""
    tags: list[str] = field(default_factory=list)
    sent: int = 0
    error: str = ""
    code: int = 0
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    _rest: str = ""

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far."""
        return (time.monotonic() if self.ended is None else self.ended) - self.started

    @property
    def current(self) -> Step | None:
        """The step at work, or None."""
        return self.steps[-1] if self.steps and self.steps[-1].ended is None else None

    def feed(self, message: Mapping[str, Any]) -> str:
        """Take in one message; return its text, for views that print it."""
        if "error" in message:
            self.error = str(message["error"]).strip()
            self.code = int((message.get("errorDetail") or {}).get("code") or 0)
            self._finish(failed=True)
            return ""
        if isinstance(message.get("aux"), Mapping):
            self.image = str(message["aux"].get("ID", self.image))
            return ""
        text = str(message.get("stream", ""))
        # Docker cuts anywhere; a step's line may also come in two pieces.
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._line(line)
        return text

    def finish(self) -> None:
        """The stream has ended."""
        if self._rest:
            self._line(self._rest)
            self._rest = ""
        self._finish(failed=bool(self.error))
        self.ended = self.ended or time.monotonic()

    def _line(self, line: str) -> None:
        if match := _STEP.fullmatch(line):
            self._finish()
            number, total, text = match.groups()
            self.steps.append(Step(int(number), int(total), text.strip(), time.monotonic()))
        elif line.strip() == "---> Using cache":
            if self.steps:
                self.steps[-1].cached = True
        elif match := _BUILT.fullmatch(line):
            self._finish()
            self.image = self.image or match.group(1)
        elif match := _TAGGED.fullmatch(line):
            self.tags.append(match.group(1).strip())
        elif _STATE.fullmatch(line) or _REMOVED.fullmatch(line):
            return
        elif self.steps:
            self.steps[-1].output.append(line)
        elif line.strip():
            self.notes.append(line)

    def _finish(self, failed: bool = False) -> None:
        if step := self.current:
            step.ended, step.failed = time.monotonic(), failed
