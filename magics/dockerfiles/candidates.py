"""What could stand where the cursor of a Dockerfile stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from dosirak.magics.dockerfiles.language import INSTRUCTIONS, MOUNTS, PREDEFINED, SHARING, VALUES
from dosirak.magics.dockerfiles.position import Position, find

Images = Callable[[], Sequence[str]]
"""Names of the images that are here; asked only where one could stand."""


def complete(before: str, images: Images) -> tuple[str, list[str]]:
    """Return the text right before the cursor that is to be replaced, and what could stand in its place.

    Parameters: `before` is the Dockerfile up to the cursor.
    """
    position = find(before)
    if position.free:
        return "", []
    words = position.words
    while words and words[0].upper() == "ONBUILD":
        words = words[1:]
    if not words:
        return _keyword(position.word)
    keyword = words[0].upper()
    name = position.word.rpartition("$")[2] if "$" in position.word else ""
    if "$" in position.word and "}" not in name:
        return _variable(name, keyword, position.variables)
    if position.word.startswith("-"):
        return _flag(keyword, words, position, images)
    return _argument(keyword, [word for word in words[1:] if not word.startswith("--")], position, images)


def _starting(fragment: str, options: Iterable[str]) -> tuple[str, list[str]]:
    return fragment, [option for option in options if option.startswith(fragment) and option != fragment]


def _keyword(word: str) -> tuple[str, list[str]]:
    """An instruction's name, in the case it was begun in."""
    names = [name for name in INSTRUCTIONS if name.startswith(word.upper())]
    return word, [name.lower() for name in names] if word.islower() else names


def _variable(name: str, keyword: str, known: Sequence[str]) -> tuple[str, list[str]]:
    brace = "{" if name.startswith("{") else ""
    fragment = name.removeprefix("{")
    options = [*known, *(PREDEFINED if keyword == "FROM" else ())]
    return fragment, [option + ("}" if brace else "") for option in options if option.startswith(fragment)]


def _flag(keyword: str, words: Sequence[str], position: Position, images: Images) -> tuple[str, list[str]]:
    known = INSTRUCTIONS[keyword].flags if keyword in INSTRUCTIONS else {}
    name, equals, value = position.word.partition("=")
    flag = name + equals
    if not equals:
        given = {word.partition("=")[0] for word in words} - {"--mount", "--exclude"}
        return _starting(position.word, [option for option in known if option.rstrip("=") not in given])
    if flag not in known:
        return "", []
    if flag == "--from=":
        return _starting(value, [*position.sources, *images()])
    if flag == "--mount=":
        return _mount(value, position, images)
    return _starting(value, VALUES.get(flag, ()))


def _mount(text: str, position: Position, images: Images) -> tuple[str, list[str]]:
    fields = text.split(",")
    given = dict(entry.partition("=")[::2] for entry in fields[:-1])
    key, equals, value = fields[-1].partition("=")
    if not equals:
        keys = MOUNTS.get(given.get("type", "bind"), ())
        kind = () if "type" in given else ("type=",)
        return _starting(key, [*kind, *(option for option in keys if option.rstrip("=") not in given)])
    match key:
        case "type":
            return _starting(value, MOUNTS)
        case "sharing":
            return _starting(value, SHARING)
        case "from":
            return _starting(value, [*position.sources, *images()])
    return "", []


def _argument(keyword: str, before: Sequence[str], position: Position, images: Images) -> tuple[str, list[str]]:
    """A word that is no flag; `before` are those in front of it."""
    word = position.word
    if keyword == "FROM" and not before:
        return _starting(word, ["scratch", *position.bases, *images()])
    if keyword == "FROM" and len(before) == 1:
        return word, ["AS"] if "AS".startswith(word.upper()) else []
    if keyword == "HEALTHCHECK" and not before:
        return _starting(word, ["CMD", "NONE"])
    if keyword == "ARG" and not word.count("="):
        return _starting(word, PREDEFINED) if word else ("", [])
    if not before and not word and keyword in INSTRUCTIONS:
        return "", list(INSTRUCTIONS[keyword].flags)
    return "", []
