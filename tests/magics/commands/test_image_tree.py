"""`images --tree`: the platforms that are here of each image."""

from __future__ import annotations

from typing import Any

import pytest

from dosirak.magics.errors import DosirakError, UsageError


def test_an_image_is_shown_with_its_platforms(magic: Any, client: Any, busybox: str) -> None:
    client.images.get(busybox).tag("tree", "1")
    client.images.get(busybox).tag("tree", "2")
    container = client.containers.create(busybox)
    frame = magic("image", "ls --tree")
    assert [*frame.columns] == ["IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "IN USE"]
    names = frame["IMAGE"].tolist()
    start = names.index("tree:1")
    assert names[start : start + 3] == ["tree:1", "tree:2", "└─ linux/amd64"]
    top, platform = frame.iloc[start + 1], frame.iloc[start + 2]
    assert top["ID"] == client.images.get(busybox).id != platform["ID"]
    assert top["CONTENT SIZE"] == platform["CONTENT SIZE"] > 0
    assert platform["DISK USAGE"] == top["DISK USAGE"] + platform["CONTENT SIZE"]
    assert bool(top["IN USE"]) and bool(platform["IN USE"])
    container.remove()
    assert not magic("image", "ls --tree tree").iloc[0]["IN USE"]
    for name in ("tree:1", "tree:2"):
        client.images.remove(name)


@pytest.mark.parametrize("flag", ["-q", "--no-trunc", "--digests", "--format json"])
def test_what_docker_does_not_draw_is_refused(magic: Any, flag: str) -> None:
    with pytest.raises((UsageError, DosirakError), match="is not yet supported with --tree"):
        magic("image", f"ls --tree {flag}")
