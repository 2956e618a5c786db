"""`docker image ls --filter`, and what `docker image prune` chooses: Docker's rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from dosirak.engine.errors import InvalidRequest
from dosirak.engine.images import times
from dosirak.engine.images.model import Image, Usage
from dosirak.engine.images.reference import Reference, parse
from dosirak.engine.state.filters import Filters, boolean, check_filters, labels
from dosirak.engine.state.pruning import COMMON, choice

KNOWN = frozenset({"dangling", "label", "before", "since", "until", "reference"})


def select(images: Iterable[Image], filters: Filters, resolve: Callable[[str], Image]) -> list[Image]:
    """The images that all filters let through, the newest first.

    `before` and `since` name images, found by `resolve`; a `reference` pattern leaves of an image only the names it
    matches. Raises InvalidRequest for an unknown filter or a malformed value, NotFound for an unknown image.
    """
    check_filters(filters, KNOWN)
    dangling = boolean(filters, "dangling", False) if "dangling" in filters else None
    latest, earliest = _bounds(filters, resolve)
    chosen = []
    for image in images:
        created = times.nanoseconds(image.created)
        if latest is not None and (created is None or created >= latest):
            continue
        if earliest is not None and (created is None or created <= earliest):
            continue
        if not labels(filters, "label", image.config.config.labels or {}):
            continue
        if dangling is not None and dangling == any(not parse(name).digest for name in image.names):
            continue
        if (shown := _matching(image, filters)) is not None:
            chosen.append(shown)
    return sorted(chosen, key=lambda image: (times.nanoseconds(image.created) or 0, image.names), reverse=True)


def parents(images: Iterable[Image]) -> set[str]:
    """The ids of images that others were committed from, and that nobody names: Docker shows them only with `-a`."""
    images = list(images)
    return {image.parent for image in images} - {image.id for image in images if image.names}


def prunable(images: Sequence[Image], filters: Filters, in_use: Callable[[str], Sequence[Usage]]) -> list[str]:
    """What to remove, by name or id: images without a tag, or with `dangling=false` all that no container is made from.

    What others were committed from goes with the last of these. Raises InvalidRequest.
    """
    chosen = choice(filters, {*COMMON, "dangling"})
    dangling = boolean(filters, "dangling", True)
    found: list[str] = []
    between = parents(images)
    for image in images:
        if image.id in between:
            continue
        tagged = any(not parse(name).digest for name in image.names)
        takes = chosen.takes(times.nanoseconds(image.created), image.config.config.labels or {})
        if takes and not (dangling and tagged) and not in_use(image.id):
            found += image.names or (image.id,)
    return found


def _bounds(filters: Filters, resolve: Callable[[str], Image]) -> tuple[int | None, int | None]:
    """Created before, created after: unix nanoseconds."""
    before = [times.nanoseconds(resolve(name).created) for name in filters.get("before", ())]
    before += [times.until(text) for text in filters.get("until", ())]
    since = [times.nanoseconds(resolve(name).created) for name in filters.get("since", ())]
    latest = min((moment for moment in before if moment is not None), default=None)
    earliest = max((moment for moment in since if moment is not None), default=None)
    return latest, earliest


def _matching(image: Image, filters: Filters) -> Image | None:
    patterns = filters.get("reference")
    if not patterns:
        return image
    expressions = [_glob(pattern) for pattern in patterns]
    names = [name for name in image.names if _matches(parse(name), expressions)]
    return image.with_names(names) if names else None


def _matches(name: Reference, expressions: Iterable[re.Pattern[str]]) -> bool:
    targets = (name.familiar, name.familiar_name, str(name), name.name)
    return any(expression.fullmatch(target) for expression in expressions for target in targets)


def _glob(pattern: str) -> re.Pattern[str]:
    """Go's path.Match: "*" and "?" stop at "/", "[a-z]" and "[^a-z]" are sets, "\\" quotes. Raises InvalidRequest.

    What stands between two stars is looked for once, at its first occurrence, and never again: a later one could not
    match more, and trying them all would take ages on "*a*a*a…".
    """
    first, *rest = _between_stars(pattern)
    if not rest:
        return re.compile(first)
    middle = "".join(f"(?>[^/]*?{part})" for part in rest[:-1] if part)
    return re.compile(f"{first}{middle}[^/]*{rest[-1]}")


def _between_stars(pattern: str) -> list[str]:
    """What stands before, between and after the stars, as expressions."""
    parts = [""]
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            parts.append("")
        elif char == "?":
            parts[-1] += "[^/]"
        elif char == "[":
            members, at = _set(pattern, at)
            parts[-1] += members
        else:
            if char == "\\":
                if at == len(pattern):
                    raise InvalidRequest("syntax error in pattern")
                char = pattern[at]
                at += 1
            parts[-1] += re.escape(char)
    return parts


def _set(pattern: str, at: int) -> tuple[str, int]:
    """The set that begins after "[", as an expression; and where it ends."""
    end = pattern.find("]", at + 1)
    body = pattern[at:end]
    inverted = body.startswith("^")
    members = body.removeprefix("^")
    if end < 0 or not members or "\\" in members:
        raise InvalidRequest("syntax error in pattern")
    quoted = re.sub(r"([\[\]^&~|])", r"\\\1", members)
    try:
        return re.compile(f"(?!/)[{'^' if inverted else ''}{quoted}]").pattern, end + 1
    except re.error as error:
        raise InvalidRequest("syntax error in pattern") from error
