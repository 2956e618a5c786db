"""A transfer's bars: what they count, and that nothing a registry says becomes markup."""

from __future__ import annotations

from dosirak.magics.transfers.progress import Progress
from dosirak.magics.transfers.view import html, plain


def _event(id: str, status: str, current: int = 0, total: int = 0) -> dict:
    return {"id": id, "status": status, "progressDetail": {"current": current, "total": total} if total else {}}


def test_layers_are_counted_from_named_to_done() -> None:
    progress = Progress()
    assert not progress.feed({"status": "Pulling from library/x", "id": "latest"})
    for event in (
        _event("aa", "Pulling fs layer"),
        _event("bb", "Already exists"),
        _event("aa", "Downloading", 2_000_000, 8_000_000),
    ):
        assert progress.feed(event)
    assert (progress.done, progress.bytes) == (1, (2_000_000, 8_000_000))
    assert plain(progress) == "1 of 2 layers, 2MB of 8MB"
    assert "width:25%" in html(progress, ended=False)
    progress.feed(_event("aa", "Extracting", 3, 7))
    progress.feed(_event("aa", "Pull complete"))
    assert (progress.done, progress.bytes) == (2, (8_000_000, 8_000_000))
    assert 'open="open"' not in html(progress, ended=True)


def test_what_a_registry_says_never_becomes_markup() -> None:
    progress = Progress()
    for number in range(1000):
        progress.feed(_event(f"<b>{number}", "<script>\n\x1b[31m", -5, 3))
    found = html(progress, ended=False)
    assert "<script" not in found and "<b>" not in found and "\x1b" not in found
    assert len(found) < 40_000
