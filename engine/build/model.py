"""What goes into a build and what comes out of it while it runs: plain data, importable by every room.

A build is asked for with a `BuildRequest` and told about in a stream of `Progress` events. Events say what happened
and when it happened; independent steps run at the same time, so events of several steps interleave. `messages.py`
turns them into the ordered text of Docker's classic builder, `/dosirak/build` and the notebook use them as they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dosirak.engine.build.inputs import Folder, Inputs, Remote

if TYPE_CHECKING:
    from dosirak.engine.registry import Credentials


@dataclass(frozen=True, slots=True)
class Limits:
    """What a RUN step may use, as the classic builder's query parameters have it; 0 and "" mean no limit.

    `memory`, `memory_swap`, `shm_size` in bytes (`memory_swap` -1: unlimited), `cpu_period`, `cpu_quota` in
    microseconds, `ulimits` as (name, soft, hard).
    """

    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    shm_size: int = 0
    ulimits: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One build.

    `context` is a directory of this machine (read in place, `.dockerignore` applied), by its path or as a caller found
    it, a URL, or a tar stream (plain or compressed) as `POST /build` carries it. `dockerfile` is the file's path inside
    the context; `dockerfile_text` is the text itself, for a front that has it at hand, and then `dockerfile` only names
    it in errors.
    `args` maps a build argument to its value, or to None for one that was named without having a value.
    `target` is a stage's name or number. `network` is default, bridge, none, host or container:ID.
    `credentials`: by registry, for the images it stands on. `inputs`: secrets and agents for RUN --mount.
    `no_cache_stages`: stages, by name or number, whose steps run whatever the cache has. `rewrite_timestamp`: no file
    of the layers made is younger than the argument SOURCE_DATE_EPOCH.
    """

    context: Path | Folder | Remote | AsyncIterable[bytes] | None = None
    dockerfile: str = ""
    dockerfile_text: str | None = None
    tags: tuple[str, ...] = ()
    args: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platform: str = ""
    no_cache: bool = False
    pull: bool = False
    network: str = "default"
    extra_hosts: tuple[str, ...] = ()
    limits: Limits = Limits()
    credentials: Mapping[str, Credentials] = field(default_factory=dict)
    inputs: Inputs = field(default_factory=Inputs)
    no_cache_stages: tuple[str, ...] = ()
    rewrite_timestamp: bool = False


class Progress(msgspec.Struct, frozen=True, tag_field="event"):
    """One thing that happened in a build; `at` is unix time in seconds."""

    at: float


class BuildStarted(Progress, frozen=True, tag="build-started"):
    """The plan is made. `steps` are the texts of all steps in the Dockerfile's order, step number 1 first."""

    build: str
    steps: tuple[StepInfo, ...]


class StepInfo(msgspec.Struct, frozen=True):
    """One step as it stands in the Dockerfile: its text, its stage's name or number, its lines (1-based)."""

    text: str
    stage: str
    first_line: int
    last_line: int


class StepStarted(Progress, frozen=True, tag="step-started"):
    """Work on step `step` (1-based) begins."""

    step: int


class StepCached(Progress, frozen=True, tag="step-cached"):
    """The step's result was there already; StepFinished follows."""

    step: int


class StepRunning(Progress, frozen=True, tag="step-running"):
    """A RUN step's process is about to start, in the container named `container` (64 hex digits)."""

    step: int
    container: str


class StepOutput(Progress, frozen=True, tag="step-output"):
    """Bytes the step's process wrote to stdout (`stream` 1) or stderr (2), cut where the process flushed."""

    step: int
    stream: int
    data: bytes


class StepFinished(Progress, frozen=True, tag="step-finished"):
    """The step is done: `state` (64 hex digits) names what the stage is now ("": an ARG before any stage), `seconds` is
    the time it took."""

    step: int
    state: str
    seconds: float


class StepFailed(Progress, frozen=True, tag="step-failed"):
    """The step failed and with it the build; BuildFailed follows."""

    step: int
    message: str


class BuildWarning(Progress, frozen=True, tag="warning"):
    """Something worth telling that does not stop the build; `line` is 0 when it concerns no line."""

    message: str
    line: int = 0


class BuildFinished(Progress, frozen=True, tag="build-finished"):
    """The image `image` ("sha256:…") is there, under each of the names `tags` (as a person writes them)."""

    image: str
    tags: tuple[str, ...]


class BuildFailed(Progress, frozen=True, tag="build-failed"):
    """The build ended without an image; `code` is the failing command's exit status, 0 when none failed."""

    message: str
    code: int = 0


ProgressSink = Callable[[Progress], None]
"""Takes each event as it happens; called on the event loop, must not block."""
