"""Variables: the arguments of the whole file and those of one stage.

BuildKit's rules. Before the first FROM there are the platform arguments and the global ARGs, visible to FROM only. In a
stage there is one set of variables, begun with the base image's environment: ENV and ARG both add to it, the last wins.
An ARG takes the value of --build-arg, else its default, else the global one. `FROM stage` inherits that stage's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dosirak.engine.build.dockerfile.expand import Mode, expand
from dosirak.engine.build.dockerfile.instructions import Arg

PROXIES = frozenset(
    f"{name}_proxy" if lower else f"{name.upper()}_PROXY"
    for name in ("http", "https", "ftp", "no", "all")
    for lower in (True, False)
)
"""Arguments that need no ARG, are in RUN's environment, and change neither the cache nor the history."""

FRONTEND = frozenset(("BUILDKIT_DOCKERFILE_CHECK", "BUILDKIT_INLINE_CACHE", "BUILDKIT_SYNTAX", "SOURCE_DATE_EPOCH"))
"""Arguments that speak to the builder: no ARG has to ask for them."""


@dataclass(frozen=True, slots=True)
class Platform:
    """os/architecture[/variant] as Go names them."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Arguments:
    """The build's arguments: those given with --build-arg, the platform's, and the file's global ARGs."""

    def __init__(self, given: Mapping[str, str | None], platform: Platform, target: str, escape: str) -> None:
        self.given = {name: value for name, value in given.items() if value is not None}
        self._unused = set(given)
        self._mode = Mode(escape=escape)
        platforms = {
            "PLATFORM": str(platform),
            "OS": platform.os,
            "OSVERSION": "",
            "ARCH": platform.architecture,
            "VARIANT": platform.variant,
        }
        values = {f"{side}{name}": value for side in ("BUILD", "TARGET") for name, value in platforms.items()}
        values["TARGETSTAGE"] = target or "default"
        self.globals: dict[str, str] = {name: self.given.get(name, value) for name, value in values.items()}

    def declare_global(self, arg: Arg) -> None:
        """An ARG before the first FROM. Raises DockerfileError when its default can't be expanded."""
        for name, default in arg.args:
            self._unused.discard(name)
            if name in self.given:
                self.globals[name] = self.given[name]
            elif default is not None:
                self.globals[name] = expand(default, self.globals, self._mode)

    def value(self, name: str, default: str | None, variables: Mapping[str, str]) -> str | None:
        """What an ARG of a stage is worth there, None when it has no value. Raises as `declare_global`."""
        self._unused.discard(name)
        if name in self.given:
            return self.given[name]
        if default is not None:
            return expand(default, variables, self._mode)
        return self.globals.get(name)

    def proxies(self) -> dict[str, str]:
        """The predefined proxy arguments that were given."""
        return {name: value for name, value in self.given.items() if name in PROXIES}

    def unused(self) -> list[str]:
        """The arguments given that nobody asked for, sorted."""
        return sorted(self._unused - PROXIES - FRONTEND)
