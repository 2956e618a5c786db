"""What the FROMs of a Dockerfile say: arguments that are not there, platforms that say nothing or too much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dosirak.engine.build.checks import rules
from dosirak.engine.build.checks.findings import Findings
from dosirak.engine.build.dockerfile import instructions as typed
from dosirak.engine.build.dockerfile.ast import Lines
from dosirak.engine.build.dockerfile.expand import Expansion, Mode, examine
from dosirak.engine.build.errors import DockerfileError
from dosirak.engine.build.scope import Arguments, Platform
from dosirak.engine.errors import EngineError
from dosirak.engine.images import parse as parse_reference
from dosirak.engine.images import platforms

_TARGET = "TARGETPLATFORM"


def check_defaults(stages: Iterable[typed.Stage], defaults: Mapping[str, str], mode: Mode, found: Findings) -> None:
    """Base images that have no name, or none that can be, when nobody gives a --build-arg."""
    for stage in stages:
        base = stage.base
        try:
            name = examine(base.base, defaults, mode).text
        except DockerfileError:
            return  # the build itself will say so
        try:
            parse_reference(name)
        except EngineError:
            detail = f"Default value for ARG {base.base} results in empty or invalid base image name"
            found.add(rules.INVALID_DEFAULT, detail, base.lines)


def check_base(base: typed.From, arguments: Arguments, declared: frozenset[str], mode: Mode, found: Findings) -> None:
    """One FROM; `declared` are the file's global ARGs. Raises DockerfileError when a variable can't be put in."""
    known = declared | arguments.globals.keys()
    _check_arguments(base, examine(base.base, arguments.globals, mode), known, found)
    if base.platform:
        platform = examine(base.platform, arguments.globals, mode)
        _check_arguments(base, platform, known, found)
        _check_platform(base, platform, arguments.globals.get(_TARGET, ""), found)


def check_image(name: str, actual: Platform, expected: Platform, lines: Lines, found: Findings) -> None:
    """An image that is made for another machine than the one that the build is for."""
    if (actual.os, actual.architecture) != (expected.os, expected.architecture):
        detail = f'Base image {name} was pulled with platform "{actual}", expected "{expected}" for current build'
        found.add(rules.BASE_PLATFORM, detail, lines)


def _check_arguments(base: typed.From, word: Expansion, known: frozenset[str], found: Findings) -> None:
    for name in sorted(word.missing - known):
        detail = f"FROM argument '{name}' is not declared{found.hint(name, known)}"
        found.add(rules.UNDEFINED_ARG, detail, base.lines)


def _check_platform(base: typed.From, word: Expansion, target: str, found: Findings) -> None:
    if word.used == {_TARGET} and not word.missing and word.text == target:
        detail = f"Setting platform to predefined {base.platform} in FROM is redundant as this is the default behavior"
        found.add(rules.REDUNDANT_PLATFORM, detail, base.lines)
    if word.used or word.missing:
        return
    try:
        platform = platforms.parse(word.text) or platforms.host()
    except EngineError:
        return  # the build itself will say so
    if platform.os not in base.name and platform.architecture not in base.name:
        detail = f'FROM --platform flag should not use constant value "{word.text}"'
        found.add(rules.CONSTANT_PLATFORM, detail, base.lines)
