"""A container's configuration: what the client asked, completed by the image's, as Docker merges them."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

import msgspec

from dosirak.engine.containers.documents import ContainerConfig, HealthConfig
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.images.config import Healthcheck, RunConfig

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def merge(asked: ContainerConfig, image: RunConfig) -> ContainerConfig:
    """The client's configuration with the image's where the client said nothing; neither is changed."""
    entrypoint, cmd = asked.entrypoint, asked.cmd
    if not entrypoint:
        # A new entrypoint drops the image's command as well.
        cmd = cmd or image.cmd
        entrypoint = image.entrypoint if entrypoint is None else entrypoint
    if entrypoint == [""]:  # how clients say `--entrypoint ""`
        entrypoint = None
    return msgspec.structs.replace(
        asked,
        user=asked.user or image.user,
        exposed_ports={**(image.exposed_ports or {}), **(asked.exposed_ports or {})} or asked.exposed_ports,
        env=[*(asked.env or ()), *_missing(asked.env or (), image.env or ())] or asked.env or image.env,
        labels={**(image.labels or {}), **(asked.labels or {})},
        cmd=cmd,
        entrypoint=entrypoint,
        healthcheck=_healthcheck(asked.healthcheck, image.healthcheck),
        working_dir=asked.working_dir or image.working_dir,
        volumes={**(image.volumes or {}), **(asked.volumes or {})} or asked.volumes,
        stop_signal=asked.stop_signal or image.stop_signal,
        stop_timeout=asked.stop_timeout if asked.stop_timeout is not None else image.stop_timeout,
        shell=asked.shell or image.shell,
        on_build=None,
    )


def _missing(asked: Sequence[str], image: Sequence[str]) -> list[str]:
    names = {item.partition("=")[0] for item in asked}
    return [item for item in image if item.partition("=")[0] not in names]


def _healthcheck(asked: HealthConfig | None, image: Healthcheck | None) -> HealthConfig | None:
    if image is None:
        return asked
    asked = asked or HealthConfig()
    return HealthConfig(
        test=asked.test or image.test,
        interval=asked.interval or image.interval,
        timeout=asked.timeout or image.timeout,
        start_period=asked.start_period or image.start_period,
        start_interval=asked.start_interval or image.start_interval,
        retries=asked.retries or image.retries,
    )


def command(config: ContainerConfig) -> list[str]:
    """The command line: entrypoint and command. Raises InvalidRequest "no command specified"."""
    if not config.entrypoint and not config.cmd:
        raise InvalidRequest("no command specified")
    return [*(config.entrypoint or ()), *(config.cmd or ())]


def environment(
    config: ContainerConfig,
    hostname: str,
    extra: Sequence[str] = (),
    *,
    tty: bool | None = None,
    linked: Sequence[str] = (),
) -> list[str]:
    """The process's environment: PATH, HOSTNAME, TERM with a terminal, `linked`, the configuration's, then `extra`.

    A later value takes the place of an earlier one; an entry without "=" removes the variable.
    """
    base = [DEFAULT_PATH, f"HOSTNAME={hostname}"]
    if config.tty if tty is None else tty:
        base.append("TERM=xterm")
    merged = {item.partition("=")[0]: item for item in base}
    for item in (*linked, *(config.env or ()), *extra):
        name, equals, _ = item.partition("=")
        if equals:
            merged[name] = item
        else:
            merged.pop(name, None)
    return list(merged.values())


def clean_working_dir(path: str) -> str:
    """The working directory, normalised. Raises InvalidRequest for a relative one."""
    if not path:
        return path
    if not path.startswith("/"):
        raise InvalidRequest(f"the working directory '{path}' is invalid, it needs to be an absolute path")
    # POSIX lets two leading slashes stand; Docker's path.Clean does not.
    return "/" + posixpath.normpath(path).lstrip("/")
