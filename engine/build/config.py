"""What an image says about itself, as a stage's instructions change it: pure functions from one config to the next."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from dosirak.engine.build.dockerfile import instructions as typed
from dosirak.engine.build.dockerfile.ast import Lines
from dosirak.engine.build.errors import DockerfileError
from dosirak.engine.build.paths import absolute

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Config:
    """The run settings of an image; tuples and None as the OCI image config has lists and absent fields.

    `has_cmd` remembers that this build set CMD: then a later ENTRYPOINT keeps it.
    """

    env: tuple[str, ...] = ()
    cmd: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    working_dir: str = ""
    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    healthcheck: typed.Healthcheck | None = None
    shell: tuple[str, ...] = ()
    onbuild: tuple[str, ...] = ()
    author: str = ""
    has_cmd: bool = False

    def command_line(self, command: typed.Command) -> tuple[str, ...]:
        """The words to execute for `command`: as they are, or given to the stage's shell."""
        return (*(self.shell or DEFAULT_SHELL), *command.args) if command.shell else command.args


def with_default_path(config: Config) -> Config:
    """The config with a PATH, if it has none."""
    if any(variable.startswith("PATH=") for variable in config.env):
        return config
    return replace(config, env=(*config.env, DEFAULT_PATH))


def apply(config: Config, instruction: typed.Instruction) -> tuple[Config, str]:
    """The config after an instruction (variables already put in), and the history's words for it.

    RUN, COPY, ADD and ARG change nothing here and are the planner's. Raises DockerfileError for a bad value.
    """
    match instruction:
        case typed.Env(pairs=pairs):
            env = config.env
            for pair in pairs:
                env = with_variable(env, pair.key, pair.value)
            return replace(config, env=env), _pairs("ENV", instruction)
        case typed.Label(pairs=pairs):
            labels = {**config.labels, **{pair.key: pair.value for pair in pairs}}
            return replace(config, labels=labels), _pairs("LABEL", instruction)
        case typed.Cmd(command=command):
            words = config.command_line(command)
            return replace(config, cmd=words, has_cmd=True), f"CMD {_quoted(words)}"
        case typed.Entrypoint(command=command):
            words = config.command_line(command)
            cmd = config.cmd if config.has_cmd else None
            return replace(config, entrypoint=words, cmd=cmd), f"ENTRYPOINT {_quoted(words)}"
        case typed.Workdir(path=path):
            return _workdir(config, path)
        case typed.User(user=user):
            return replace(config, user=user), f"USER {user}"
        case _:
            return _apply_rare(config, instruction)


def _apply_rare(config: Config, instruction: typed.Instruction) -> tuple[Config, str]:
    match instruction:
        case typed.Expose(ports=specs):
            ports = expand_ports(specs)
            exposed = tuple(dict.fromkeys((*config.exposed_ports, *ports)))
            return replace(config, exposed_ports=exposed), f"EXPOSE {_listed(ports)}"
        case typed.Volume(paths=paths):
            if not all(paths):
                raise DockerfileError("VOLUME specified can not be an empty string")
            volumes = tuple(dict.fromkeys((*config.volumes, *paths)))
            return replace(config, volumes=volumes), f"VOLUME {_listed(paths)}"
        case typed.StopSignal(signal=name):
            _check_signal(name)
            return replace(config, stop_signal=name), f"STOPSIGNAL {name}"
        case typed.Healthcheck():
            check = replace(instruction, text="HEALTHCHECK", lines=Lines(0, 0))  # where it stood is of no interest
            return replace(config, healthcheck=check), f"HEALTHCHECK {_health(instruction)}"
        case typed.Shell(shell=shell):
            return replace(config, shell=shell), f"SHELL {_listed(shell)}"
        case typed.OnBuild(trigger=trigger):
            return replace(config, onbuild=(*config.onbuild, trigger)), f"ONBUILD {trigger}"
        case typed.Maintainer(name=name):
            return replace(config, author=name), f"MAINTAINER {name}"
    raise DockerfileError(f"{instruction.text.split()[0].upper()} does not change an image's config")


def with_variable(env: Iterable[str], name: str, value: str) -> tuple[str, ...]:
    """`env` with one variable set, in its old place if it had one."""
    variables = dict(entry.partition("=")[::2] for entry in env)
    variables[name] = value
    return tuple(f"{key}={text}" for key, text in variables.items())


def expand_ports(specs: Iterable[str]) -> tuple[str, ...]:
    """`80`, `80/udp`, `8000-8010/tcp` → "80/tcp", … one entry a port.

    Raises DockerfileError for anything else.
    """
    ports: list[str] = []
    for spec in specs:
        numbers, slash, protocol = spec.partition("/")
        protocol = protocol.lower() if slash and protocol else "tcp"
        if not numbers:
            raise DockerfileError(f'invalid port: "{spec}": no port specified')
        if protocol not in ("tcp", "udp", "sctp"):
            raise DockerfileError(f'invalid port: "{spec}": invalid proto: {protocol}')
        # "ip:host:container" was once accepted; only the container's port means anything here
        first, dash, last = numbers.rpartition(":")[2].partition("-")
        low, high = _port(first, spec), _port(last if dash else first, spec)
        if high < low:
            raise DockerfileError(f"invalid containerPort: {numbers}")
        ports += [f"{number}/{protocol}" for number in range(low, high + 1)]
    return tuple(ports)


def _port(text: str, spec: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise DockerfileError(f"invalid containerPort: {spec}")
    return int(text)


def _workdir(config: Config, path: str) -> tuple[Config, str]:
    if not path:
        raise DockerfileError("cannot normalize nothing")
    directory = absolute(config.working_dir or "/", path)
    return replace(config, working_dir=directory), f"WORKDIR {directory}"


def _check_signal(name: str) -> None:
    if name.isascii() and name.isdigit():
        if 0 < int(name[:5]) <= 64:
            return
    else:
        bare = name.upper().removeprefix("SIG")
        if f"SIG{bare}" in signal.Signals.__members__ or re.fullmatch(r"RTM(IN(\+\d{1,2})?|AX(-\d{1,2})?)", bare):
            return
    raise DockerfileError(f"Invalid signal: {name}")


def _pairs(keyword: str, instruction: typed.Env | typed.Label) -> str:
    return " ".join([keyword, *(f"{pair.key}={pair.value}" for pair in instruction.pairs)])


def _quoted(words: tuple[str, ...]) -> str:
    return f"[{' '.join(json.dumps(word, ensure_ascii=False) for word in words)}]"


def _listed(words: Iterable[str]) -> str:
    return f"[{' '.join(words)}]"


def _health(check: typed.Healthcheck) -> str:
    times = (check.interval, check.timeout, check.start_period, check.start_interval)
    return f"{{{_listed(check.test)} {' '.join(f'{nanoseconds / 1e9:g}s' for nanoseconds in times)} {check.retries}}}"
