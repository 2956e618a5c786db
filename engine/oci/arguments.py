"""Options and arguments, as runc's command line takes them: options first, `--name value` or `--name=value`."""

from __future__ import annotations

from dosirak.engine.oci.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Grammar:
    """The options of a command. A name is "long" or "long,s"; `flags` are there or not, `values` have one value, of
    `lists` each may come again."""

    def __init__(self, flags: str = "", values: str = "", lists: str = "") -> None:
        self._kinds: dict[str, tuple[str, str]] = {}
        for kind, names in (("flag", flags), ("value", values), ("list", lists)):
            for entry in names.split():
                long, *short = entry.split(",")
                for name in (long, *short):
                    self._kinds[name] = long, kind

    def parse(self, words: Sequence[str], *, between: bool = False) -> tuple[Options, list[str]]:
        """The options, and the arguments after them: from the first word that is no option, or, `between`, all that are
        none. Raises Failure."""
        found, arguments = Options(), []
        rest = list(words)
        while rest and (between or (rest[0].startswith("-") and rest[0] != "-")):
            word = rest.pop(0)
            if word == "--":
                break
            if not word.startswith("-") or word == "-":
                arguments.append(word)
                continue
            name, equals, value = word.lstrip("-").partition("=")
            if name not in self._kinds:
                raise Failure(f"flag provided but not defined: {word.partition('=')[0]}")
            long, kind = self._kinds[name]
            if kind == "flag":
                found.flags[long] = not equals or value.lower() in ("true", "1", "t")
                continue
            if not equals:
                if not rest:
                    raise Failure(f"flag needs an argument: {word}")
                value = rest.pop(0)
            if kind == "list":
                found.lists.setdefault(long, []).append(value)
            else:
                found.values[long] = value
        return found, arguments + rest


class Options:
    """What a command line had."""

    __slots__ = ("flags", "lists", "values")

    def __init__(self) -> None:
        self.flags: dict[str, bool] = {}
        self.values: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}

    def has(self, name: str) -> bool:
        """Whether a flag is there."""
        return self.flags.get(name, False)

    def get(self, name: str, default: str = "") -> str:
        """A value."""
        return self.values.get(name, default)

    def number(self, name: str, default: int = 0) -> int:
        """A value that is a number. Raises Failure."""
        text = self.values.get(name)
        if text is None:
            return default
        try:
            return int(text)
        except ValueError:
            raise Failure(f'invalid value "{text}" for flag -{name}: not a number') from None

    def all(self, name: str) -> list[str]:
        """The values of an option that may come again."""
        return self.lists.get(name, [])


def exactly(number: int, arguments: list[str], command: str) -> None:
    """Raises Failure unless there are so many arguments."""
    if len(arguments) != number:
        raise Failure(f'"{command}" requires exactly {number} argument(s)')
