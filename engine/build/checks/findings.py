"""Where rules report to: findings collected, those that do not count dropped."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from dosirak.engine.build.checks.options import Options
from dosirak.engine.build.checks.rules import Finding, Rule
from dosirak.engine.build.dockerfile.ast import Lines, Node
from dosirak.engine.build.dockerfile.text import suggestion

_MOST = 1000
_MOST_COMPARED = 10_000


class Findings:
    """Collects what the rules find in one file; an instruction's own `# check=…` has its say.

    After the first thousand no more are taken: nobody reads them, and a hostile file would make millions.
    """

    def __init__(self, options: Options, nodes: Sequence[Node]) -> None:
        self._options = options
        self._local: Mapping[int, Options] = {
            node.lines.first: options.with_comments(node.comments) for node in nodes if node.comments
        }
        self._found: list[Finding] = []
        self._compared = 0

    def add(self, rule: Rule, detail: str, lines: Lines, said_at: Lines | None = None) -> None:
        """The rule is broken at `lines`; `said_at` is the instruction that shows it, when that is another one."""
        options = self._local.get((said_at or lines).first, self._options)
        if options.counts(rule) and not self.full:
            self._found.append(Finding(rule, detail, lines))

    def hint(self, name: str, options: Collection[str]) -> str:
        """ " (did you mean X?)" for a name nobody knows, as long as that takes reasonable time."""
        self._compared += len(options)
        return suggestion(name, options) if self._compared <= _MOST_COMPARED else ""

    @property
    def full(self) -> bool:
        """Whether no more are taken: then there is no use in wording one."""
        return len(self._found) >= _MOST

    def sorted(self) -> tuple[Finding, ...]:
        """The findings by line, those of one line in the order they were made."""
        return tuple(sorted(self._found, key=lambda finding: finding.lines.first))
