""".dockerignore: which paths of a context are left out.

Semantics: moby's patternmatcher and its ignorefile. A path is left out when it, or a directory above it, matches the
last pattern that says anything about it; `!pattern` takes paths back in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dosirak.engine.build.dockerfile.text import trim
from dosirak.engine.build.paths import clean, has_wildcards
from dosirak.engine.build.pattern import Match, compile_pattern
from dosirak.engine.errors import InvalidRequest

State = tuple[bool, ...]
"""For each pattern, whether a directory matched it: what a walk hands down to the entries of that directory."""


def read_patterns(text: str | bytes) -> list[str]:
    """The patterns of an ignore file: comments and blank lines gone, paths cleaned, leading slashes dropped."""
    source = text.decode(errors="replace") if isinstance(text, bytes) else text
    patterns = []
    for line in source.removeprefix("\ufeff").split("\n"):
        pattern = trim(line)
        if not pattern or line.startswith("#"):
            continue
        negated = pattern.startswith("!")
        path = trim(pattern[1:]) if negated else pattern
        if path:
            path = clean(path)
            path = path[1:] if len(path) > 1 and path.startswith("/") else path
        patterns.append(f"!{path}" if negated else path)
    return patterns


@dataclass(frozen=True, slots=True)
class _Pattern:
    path: str
    negated: bool
    match: Match


class Ignore:
    """A list of patterns to test paths ("a/b", relative to the context) against.

    Raises InvalidRequest for a pattern that is no pattern.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._patterns = [_compile(clean(pattern)) for pattern in map(trim, patterns) if pattern]
        self._negations = [pattern.path.split("/") for pattern in self._patterns if pattern.negated]

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def excludes(self, path: str) -> bool:
        """Whether `path` is left out, as it is or because of a directory above it."""
        if path == ".":
            return False
        parts = path.split("/")
        state: State | None = None
        excluded = False
        for end in range(1, len(parts) + 1):
            excluded, state = self.step("/".join(parts[:end]), state)
        return excluded

    def step(self, path: str, parent: State | None = None) -> tuple[bool, State]:
        """The same for a walk from the top: whether `path` is left out, and what its own entries need to know.

        Parameters: `parent` is the state of the directory that holds `path`, None at the top.
        """
        excluded = False
        state = []
        for index, pattern in enumerate(self._patterns):
            matched = parent is not None and parent[index]
            if not matched and pattern.negated == excluded:
                matched = pattern.match(path)
            state.append(matched)
            if matched:
                excluded = not pattern.negated
        return excluded, tuple(state)

    def may_include_below(self, directory: str) -> bool:
        """Whether a path below `directory`, itself left out, could be taken back in: if not, no need to walk it."""
        parts = directory.split("/")
        return any(_may_match_below(negation, parts) for negation in self._negations)


def _compile(pattern: str) -> _Pattern:
    negated = pattern.startswith("!")
    path = pattern[1:] if negated else pattern
    if not path:
        raise InvalidRequest('illegal exclusion pattern: "!"')
    return _Pattern(path, negated, compile_pattern(path))


def _may_match_below(pattern: list[str], directory: list[str]) -> bool:
    for wanted, part in zip(pattern, directory, strict=False):
        if has_wildcards(wanted) or "\\" in wanted:
            return True
        if wanted != part:
            return False
    return True
