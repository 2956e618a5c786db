"""`--change` of import and commit: a few Dockerfile instructions on an image's config, without a build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dosirak.engine.build.config import apply
from dosirak.engine.build.dockerfile import expand, expand_words, instruction, parse
from dosirak.engine.build.dockerfile import instructions as typed
from dosirak.engine.build.result import read_config, write_config
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.images import RunConfig

# Docker's list: what neither needs a root filesystem nor makes a layer.
_ALLOWED = frozenset(
    {"CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
)


def apply_changes(config: RunConfig, changes: Sequence[str]) -> RunConfig:
    """The config after these instructions, each as a line of a Dockerfile ("ENV A=1"); variables are the config's own.

    Raises InvalidRequest (DockerfileError), in Docker's words where it has some.
    """
    if not changes:
        return config
    current = read_config(config)
    for node in parse("\n".join(changes), "changes").nodes:
        if node.name not in _ALLOWED:
            raise InvalidRequest(f"{node.keyword} is not a valid change command")
        variables = dict(variable.partition("=")[::2] for variable in current.env)
        made = typed.expanded(instruction(node), lambda text: expand(text, variables), str)  # noqa: B023
        if isinstance(made, typed.Expose):
            ports = (word for port in made.ports for word in expand_words(port, variables))
            made = replace(made, ports=tuple(ports))
        current, _ = apply(current, made)
    return write_config(current, config)
