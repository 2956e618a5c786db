"""The Tab key and Shift-Tab in a `%%dockerfile` cell: what IPython asks, answered.

Images are asked of the engine, at most every few seconds, and never in the way: no engine, no names.
"""

from __future__ import annotations

import functools
import time
from typing import Any

from dosirak.magics.dockerfiles.candidates import complete
from dosirak.magics.dockerfiles.describe import describe

_KEPT = 5.0
"""Seconds for which the names of images are good."""


def matches(context: Any) -> dict[str, Any]:
    """Answer IPython's completer (a matcher of its API 2): `context` has the cell's text and the cursor's place."""
    from IPython.core.completer import SimpleCompletion

    lines = context.full_text.split("\n")
    before = [*lines[: context.cursor_line], lines[context.cursor_line][: context.cursor_position]]
    if len(before) == 1:
        fragment, found = _flags(before[0])
    else:
        fragment, found = complete("\n".join(before[1:]), _images)
    completions = [SimpleCompletion(text, type="dockerfile") for text in found]
    return {"completions": completions, "matched_fragment": fragment, "suppress": bool(found), "ordered": True}


def inspected(name: str) -> dict[str, str] | None:
    """Return help on an instruction as a bundle for the notebook's tooltip, None for any other name."""
    found = describe(name) if name.isupper() else None
    return None if found is None else {"text/plain": repr(found), "text/html": found._repr_html_()}


def _flags(line: str) -> tuple[str, list[str]]:
    """The magic's own flags."""
    from dosirak.magics.commands.build import dockerfile

    word = line.rpartition(" ")[2]
    if not word.startswith("-"):
        return "", []
    shown = (param for param in dockerfile.params if not getattr(param, "hidden", False))
    names = sorted(name for param in shown for name in param.opts if name.startswith("--"))
    return word, [name for name in names if name.startswith(word)]


def _images() -> list[str]:
    return _images_at(int(time.monotonic() // _KEPT))


@functools.lru_cache(maxsize=1)
def _images_at(moment: int) -> list[str]:
    """The images' names; `moment` changes when they are worth asking for again."""
    from dosirak.magics.engine import connect
    from dosirak.magics.errors import DosirakError

    try:
        images = connect().get("/images/json")
    except DosirakError:
        return []
    tags = sorted(tag for image in images for tag in image["RepoTags"] or ())
    return [tag.removesuffix(":latest") for tag in tags if tag != "<none>:<none>"]
