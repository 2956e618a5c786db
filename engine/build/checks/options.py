"""`# check=skip=…;error=true;experimental=…`: which rules count, for the whole file or for one instruction."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dosirak.engine.build.checks.rules import Rule
from dosirak.engine.build.dockerfile.ast import Dockerfile
from dosirak.engine.build.errors import DockerfileError

ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
"""The build argument that takes the place of the file's directive."""

_COMMENT = re.compile(r"check\s*=\s*(.+)", re.IGNORECASE | re.DOTALL)
_TRUE = ("1", "t", "true")
_FALSE = ("0", "f", "false")
_ALL = "all"


@dataclass(frozen=True, slots=True)
class Options:
    """Rules left out, experimental rules taken in (by name, or "all"), and whether a broken rule fails the build."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False

    def counts(self, rule: Rule) -> bool:
        """Whether the rule is looked at."""
        if rule.experimental:
            return bool(self.experimental & {rule.name, _ALL})
        return not self.skip & {rule.name, _ALL}

    def with_comments(self, comments: Iterable[str]) -> Options:
        """These options and those of a `# check=…` right above an instruction; one without sense adds nothing."""
        for comment in comments:
            match = _COMMENT.fullmatch(comment)
            if match is None:
                continue
            try:
                more = parse(_without_remark(match[1]))
            except DockerfileError:
                return self
            return Options(self.skip | more.skip, self.experimental | more.experimental, self.error)
        return self


def parse(text: str) -> Options:
    """The options in `text`, "skip=…;error=…;experimental=…". Raises DockerfileError."""
    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error = False
    for part in text.split(";", 2) if text.strip() else ():
        key, equals, value = map(str.strip, part.partition("="))
        if not equals:
            raise DockerfileError(f'failed to parse check options: invalid check option "{part}"')
        match key:
            case "skip":
                skip = _names(value)
            case "experimental":
                experimental = _names(value)
            case "error":
                error = _boolean(part, value)
            case _:
                raise DockerfileError(f'failed to parse check options: invalid check option "{key}"')
    return Options(skip, experimental, error)


def of_file(file: Dockerfile, given: str | None) -> Options:
    """The file's options, or those `given` in their place. Raises DockerfileError, located when it is the file's."""
    if given is not None:
        return parse(given)
    directive = next((known for known in file.directives if known.name == "check"), None)
    if directive is None:
        return Options()
    try:
        return parse(_without_remark(directive.value))
    except DockerfileError as error:
        line = directive.line
        raise DockerfileError(error.problem, line, line, file.filename, file.source) from error


def _without_remark(value: str) -> str:
    """A directive's value ends at the first blank: "skip=all // because"."""
    return value.split(" ", 1)[0]


def _names(value: str) -> frozenset[str]:
    return frozenset(name.strip() for name in value.split(","))


def _boolean(part: str, value: str) -> bool:
    if value.lower() not in (*_TRUE, *_FALSE):
        raise DockerfileError(f'failed to parse check options: failed to parse check option "{part}"')
    return value.lower() in _TRUE
