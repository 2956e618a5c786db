"""From a solved plan to the image's config document."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from dosirak.engine.build.config import Config
from dosirak.engine.build.dockerfile import instructions as typed
from dosirak.engine.build.dockerfile.ast import Lines
from dosirak.engine.build.graph import History, Vertex
from dosirak.engine.build.scope import Platform
from dosirak.engine.build.shared import Outcome
from dosirak.engine.go import rfc3339
from dosirak.engine.images import Healthcheck, ImageConfig, RunConfig
from dosirak.engine.images import History as ImageHistory
from dosirak.engine.state.moments import nanoseconds

COMMENT = "dosirak.dockerfile.v0"
"""What the history says of who made an entry."""


def read_config(config: RunConfig, author: str = "") -> Config:
    """The settings a stage begins with that stands on an image of that config."""
    check = config.healthcheck
    return Config(
        env=tuple(config.env or ()),
        cmd=None if config.cmd is None else tuple(config.cmd),
        entrypoint=None if config.entrypoint is None else tuple(config.entrypoint),
        working_dir=config.working_dir,
        user=config.user,
        exposed_ports=tuple(config.exposed_ports or ()),
        volumes=tuple(config.volumes or ()),
        labels=dict(config.labels or {}),
        stop_signal=config.stop_signal,
        healthcheck=None if check is None else _read_healthcheck(check),
        shell=tuple(config.shell or ()),
        onbuild=tuple(config.on_build or ()),
        author=author,
    )


def write_config(config: Config, base: RunConfig | None = None) -> RunConfig:
    """The settings as the image config has them; what no instruction can say is the base's."""
    return RunConfig(
        user=config.user,
        exposed_ports={port: {} for port in sorted(config.exposed_ports)} or None,
        env=list(config.env) or None,
        entrypoint=None if config.entrypoint is None else list(config.entrypoint),
        cmd=None if config.cmd is None else list(config.cmd),
        volumes={path: {} for path in sorted(config.volumes)} or None,
        working_dir=config.working_dir,
        labels=dict(sorted(config.labels.items())) or None,
        stop_signal=config.stop_signal,
        stop_timeout=base.stop_timeout if base else None,
        healthcheck=None if config.healthcheck is None else _write_healthcheck(config.healthcheck),
        on_build=list(config.onbuild) or None,
        shell=list(config.shell) or None,
    )


def image_config(
    config: Config,
    history: Sequence[History],
    outcome: Callable[[Vertex], Outcome | None],
    base: ImageConfig | None,
    platform: Platform,
    created_ns: int,
    *,
    fixed: bool = False,
) -> ImageConfig:
    """The image's document. Its layers are for `Images.commit` to name.

    Parameters: `outcome` tells what came of a step; `created_ns` is when the image was first made (unix time): the
    same work from the cache gives the same document. `fixed`: so the caller wants it: nothing in it is younger.
    """
    inherited = list((base.history if base else None) or ())
    if fixed:
        inherited = [_no_younger(entry, created_ns) for entry in inherited]
    return ImageConfig(
        architecture=base.architecture if base else platform.architecture,
        os=base.os if base else platform.os,
        variant=base.variant if base else platform.variant,
        created=rfc3339(created_ns),
        author=config.author,
        config=write_config(config, base.config if base else None),
        history=[*inherited, *_history(history, outcome, created_ns, fixed)],
    )


def _no_younger(entry: ImageHistory, created_ns: int) -> ImageHistory:
    made = nanoseconds(entry.created)
    young = made is not None and made > created_ns
    return msgspec.structs.replace(entry, created=rfc3339(created_ns)) if young else entry


def _history(
    history: Sequence[History], outcome: Callable[[Vertex], Outcome | None], created_ns: int, fixed: bool
) -> list[ImageHistory]:
    """Times never go back: a step that made no layer has the time of the next one that did."""
    entries: list[ImageHistory] = []
    time_ns = created_ns
    for entry in reversed(history):
        came = outcome(entry.vertex) if entry.vertex is not None else None
        if came is not None and not fixed:
            time_ns = min(time_ns, came.created_ns)
        entries.append(
            ImageHistory(
                created=rfc3339(time_ns),
                created_by=entry.created_by,
                comment=COMMENT,
                empty_layer=came is None or came.layer is None,
            )
        )
    return entries[::-1]


def _read_healthcheck(check: Healthcheck) -> typed.Healthcheck:
    return typed.Healthcheck(
        text="HEALTHCHECK",
        lines=Lines(0, 0),
        test=tuple(check.test or ()),
        interval=check.interval,
        timeout=check.timeout,
        start_period=check.start_period,
        start_interval=check.start_interval,
        retries=check.retries,
    )


def _write_healthcheck(check: typed.Healthcheck) -> Healthcheck:
    return Healthcheck(
        test=list(check.test) or None,
        interval=check.interval,
        timeout=check.timeout,
        start_period=check.start_period,
        start_interval=check.start_interval,
        retries=check.retries,
    )
