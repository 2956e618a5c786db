"""Docker's progress messages (moby, pkg/jsonmessage): what a pull or push tells, one JSON object each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dosirak.engine.registry import Message

_BAR = 50
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def line(message: Message) -> dict[str, Any]:
    """The message as Docker's clients read it."""
    if message.pushed is not None:
        pushed = message.pushed
        return {"progressDetail": {}, "aux": {"Tag": pushed.tag, "Digest": pushed.digest, "Size": pushed.size}}
    found: dict[str, Any] = {"status": message.status}
    if message.layer and (message.total or message.current):
        found["progressDetail"] = {"current": message.current, "total": message.total}
        found["progress"] = bar(message.current, message.total)
    elif message.layer:
        found["progressDetail"] = {}
    if message.id:
        found["id"] = message.id
    return found


def bar(current: int, total: int) -> str:
    """The text for clients that draw nothing themselves: "[=====>      ]  1.2MB/3.4MB"."""
    if total <= 0:
        return f"{size(current):>8}"
    full = min(_BAR, int(current / total * 100) // 2)
    counts = f"{size(current):>8}" if current > total else f"{size(current):>8}/{size(total)}"
    return f"[{'=' * full}>{' ' * (_BAR - full)}] {counts}"


def size(count: int) -> str:
    """Four significant digits and a decimal unit, as go-units writes them."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.4g}{_UNITS[unit]}"
