"""`import --change` and `commit --change`: Dockerfile instructions applied to an image's settings. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dosirak.engine.build.config import Config, apply
from dosirak.engine.build.dockerfile import instruction, parse
from dosirak.engine.build.dockerfile import instructions as typed
from dosirak.engine.build.dockerfile.expand import Mode, expand, expand_words
from dosirak.engine.build.dockerfile.place import placed
from dosirak.engine.build.errors import DockerfileError
from dosirak.engine.build.result import read_config, write_config
from dosirak.engine.images import RunConfig

_ALLOWED = (
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
)


def apply_changes(config: RunConfig, changes: Sequence[str]) -> RunConfig:
    """The settings after the instructions `changes` ("CMD sh", "ENV a=b"), one a line.

    Raises DockerfileError (InvalidRequest) for what is no such instruction.
    """
    if not changes:
        return config
    file = parse("\n".join(changes), "changes")
    settings = read_config(config)
    for node in file.nodes:
        with placed(file, node.lines):
            if node.name not in _ALLOWED:
                raise DockerfileError(f"{node.keyword} is not a valid change command")
            settings, _ = apply(settings, _expanded(instruction(node), settings, Mode(escape=file.escape)))
    return write_config(settings, config)


def _expanded(made: typed.Instruction, settings: Config, mode: Mode) -> typed.Instruction:
    variables = dict(entry.partition("=")[::2] for entry in settings.env)
    if isinstance(made, typed.Expose):
        ports = (word for port in made.ports for word in expand_words(port, variables, mode))
        return replace(made, ports=tuple(ports))
    return typed.expanded(made, lambda text: expand(text, variables, mode), str)
