"""What a test file said, in TAP, and how it compares with the failures that are known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LINE = re.compile(r"^(?P<not>not )?ok(?: (?P<number>\d+))?(?: -)?(?: (?P<rest>.*))?$")
_DIRECTIVE = re.compile(r"(?<!\\)# *(?P<skip>skip)?", re.IGNORECASE)
_TIME = re.compile(r"\s+in \d+ *(?:ms|sec)\s*$")


@dataclass(frozen=True)
class Result:
    """One test. `name` is the file's, a colon, and the test's; `status` is "ok", "failed" or "skipped"."""

    name: str
    status: str


@dataclass(frozen=True)
class Comparison:
    """Results beside the known failures: `new` ones, and those that `passed` nevertheless (take them off the list)."""

    new: tuple[str, ...]
    passed: tuple[str, ...]


def read(file: str, tap: str) -> Iterator[Result]:
    """The results in a test file's output (testanything.org, version 13). One with a plan and too few results has a
    further one, "unfinished", which failed."""
    planned, seen = None, 0
    for line in tap.splitlines():
        if plan := re.fullmatch(r"1\.\.(\d+)(?: *#.*)?", line):
            planned = int(plan[1])
        elif found := _LINE.match(line):
            seen += 1
            yield _result(file, found)
    if (planned is None and not seen) or (planned is not None and seen < planned):
        yield Result(f"{file}: unfinished", "failed")


def _result(file: str, found: re.Match[str]) -> Result:
    rest = found["rest"] or ""
    directive = _DIRECTIVE.search(rest)
    skipped = directive is not None and directive["skip"] is not None
    said = (
        rest[: directive.start()] if skipped or (directive and re.match(r"# \d", rest[directive.start() :])) else rest
    )  # type: ignore[union-attr]
    name = " ".join(_TIME.sub("", said).split()) or found["number"] or "unnamed"
    return Result(f"{file}: {name}", "skipped" if skipped else "failed" if found["not"] else "ok")


def known(path: Path) -> dict[str, str]:
    """The failures that are known, each with its reason: lines are names, and a line with # the reason of those after
    it."""
    reason, found = "", {}
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            reason = line.removeprefix("#").strip()
        elif line.strip():
            found[line.strip()] = reason
    return found


def compare(results: Iterable[Result], expected: dict[str, str]) -> Comparison:
    """What differs. A name that several tests share has failed when one of them has."""
    statuses: dict[str, set[str]] = {}
    for result in results:
        statuses.setdefault(result.name, set()).add(result.status)
    failed = {name for name, seen in statuses.items() if "failed" in seen}
    return Comparison(
        tuple(sorted(failed - expected.keys())),
        tuple(sorted(name for name in expected if statuses.get(name) == {"ok"})),
    )
