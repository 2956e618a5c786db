"""How a build shows itself while it runs: one block that updates in a cell, the classic lines in a terminal."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Protocol

from dosirak.magics.building.steps import Build, Step
from dosirak.magics.look import theme
from dosirak.magics.look.html import PLAIN, Markup, dot, join, mono, tag
from dosirak.magics.look.text import one_line, visible
from dosirak.magics.look.words import shorten, size
from dosirak.magics.streams.sanitize import Text

if TYPE_CHECKING:
    from dosirak.magics.doors import Door

INTERVAL = 0.1
"""Seconds between two updates of a cell's block: each one is a message to the browser."""

_TAIL = 12
_KEPT = 400
_NOTABLE = 1_000_000
"""Bytes of context from which on sending it is worth a word."""


class BuildView(Protocol):
    """Shows a build."""

    def update(self, build: Build, text: str) -> None:
        """Something came; `text` is what the builder said."""

    def close(self, build: Build) -> None:
        """The build is over."""


class TextView:
    """The builder's own lines, as docker prints them."""

    def __init__(self, door: Door) -> None:
        self._sink = door.sink()

    def update(self, build: Build, text: str) -> None:
        """Print what came."""
        if text:
            self._sink.write(1, text.encode())

    def close(self, build: Build) -> None:
        """Print what was held back."""
        self._sink.close()


class CellView:
    """One HTML block, redrawn in place; its plain text is what terminals and nbconvert's text see."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._drawn = 0.0

    def update(self, build: Build, text: str) -> None:
        """Redraw, not oftener than every INTERVAL."""
        if time.monotonic() - self._drawn >= INTERVAL:
            self._draw(build)

    def close(self, build: Build) -> None:
        """Draw the end."""
        self._draw(build)

    def _draw(self, build: Build) -> None:
        from IPython.display import display

        bundle = {"text/html": html(build), "text/plain": plain(build)}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)
        self._drawn = time.monotonic()


def plain(build: Build) -> str:
    """Return the build as lines: a step each, the failed one with its output."""
    lines = [f"{_mark(s)} {s.number}/{s.total} {shorten(one_line(s.text), 90)}  {_time(s)}" for s in build.steps]
    if build.error and build.steps:
        lines += [f"    {line}" for line in _output(build.steps[-1])[-_TAIL:]]
    return "\n".join([*(visible(note) for note in build.notes), *lines, _verdict(build)])


def html(build: Build) -> Markup:
    """Return the build as a block: done steps are one line each and fold open to their output."""
    rows = [_row(step, build) for step in build.steps]
    notes = [tag("div", note, style=f"color:{theme.AMBER}") for note in build.notes]
    colour = theme.RED if build.error else theme.GREEN if build.ended else theme.AMBER
    foot = tag("div", dot(colour), " ", _verdict(build), style="margin-top:6px")
    box = f"border:1px solid {theme.LINE};border-radius:8px;padding:10px 14px;line-height:1.55"
    return tag("div", *notes, *rows, foot, class_=PLAIN, style=f"{box};font-size:{theme.NORMAL}")


def _row(step: Step, build: Build) -> Markup:
    colour = theme.RED if step.failed else theme.AMBER if step.ended is None else theme.GREEN
    if step.cached:
        colour = theme.BLUE
    keyword, _, rest = step.text.partition(" ")
    faint = f"color:{theme.GREY}"
    line = join(
        dot(colour),
        " ",
        tag("span", f"{step.number}/{step.total}", style=f"{faint};font-variant-numeric:tabular-nums"),
        " ",
        mono(join(tag("b", keyword), " ", shorten(rest, 110))),
        tag("span", f"  {_time(step)}", style=faint),
    )
    output = _output(step)
    if not output:
        return tag("div", line, style="padding-left:15px")
    # The step at work and the failed one stand open; the others are one line until one looks.
    attributes = {"open": "open"} if step.failed or (step.ended is None and not build.ended) else {}
    shown = output if step.failed or step.ended is not None else output[-_TAIL:]
    block = f"margin:2px 0 6px 16px;padding:6px 10px;background:{theme.FAINT};border-radius:6px"
    scroll = "max-height:260px;overflow:auto;white-space:pre-wrap"
    text = tag("pre", "\n".join(shown[-_KEPT:]), style=f"{block};{scroll};font-size:{theme.SMALL};line-height:1.4")
    return tag("details", tag("summary", line, style="cursor:pointer"), text, **attributes)


def _output(step: Step) -> list[str]:
    text = Text()
    cleaned = [text.feed(f"{line}\n".encode()).rstrip("\n") for line in step.output]
    while cleaned and not cleaned[-1].strip():
        cleaned.pop()
    return [_without_colours(line.rpartition("\r")[2]) for line in cleaned]


def _without_colours(line: str) -> str:
    return re.sub(r"\x1b\[[0-9;:]*m", "", line)


def _mark(step: Step) -> str:
    if step.failed:
        return "✗"
    return "…" if step.ended is None else "✓"


def _time(step: Step) -> str:
    return "cached" if step.cached else f"{step.seconds:.1f} s"


def _verdict(build: Build) -> str:
    if build.error:
        first = build.error.strip().splitlines()[0]
        return f"failed after {build.seconds:.1f} s: {one_line(first)}"
    if build.ended is None and not build.steps and build.sent > _NOTABLE:
        return f"sending the build context: {size(build.sent)}"
    if build.ended is None:
        return f"building {build.name or 'an image'} … {build.seconds:.1f} s"
    name = ", ".join(build.tags) or build.image.removeprefix("sha256:")[:12]
    reused = sum(step.cached for step in build.steps)
    said = f", {reused} of {len(build.steps)} steps from the cache" if reused else ""
    return f"built {one_line(name)} in {build.seconds:.1f} s{said}"
