"""The one small set of colours and sizes of all views.

Inline styles only: JupyterLab strips `<style>` and classes' meaning from outputs of a notebook it does not trust, and
a saved notebook has to look right there too. Text inherits the page's colours, so views fit light and dark themes;
the accents below are chosen to be legible on both.
"""

from __future__ import annotations

GREEN = "#2e9e6b"
AMBER = "#c98a1b"
RED = "#d1495b"
BLUE = "#3b82c4"
VIOLET = "#8b6fc9"
GREY = "#8a919c"

FAINT = "rgba(128,136,148,.16)"
"""A surface a little apart from the page, on light and dark."""

LINE = "rgba(128,136,148,.38)"
"""A thin rule, on light and dark."""

MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','DejaVu Sans',sans-serif"

SMALL = "12px"
NORMAL = "13px"

_STATES = {
    "running": GREEN,
    "ok": GREEN,
    "limited": AMBER,
    "missing": RED,
    "paused": AMBER,
    "restarting": AMBER,
    "created": BLUE,
    "exited": GREY,
    "dead": RED,
    "removing": GREY,
}


def state_colour(state: str, exit_code: int | None = None) -> str:
    """Return the colour of a container's state; one that ended with an error is red."""
    if state == "exited" and exit_code:
        return RED
    return _STATES.get(state, GREY)
