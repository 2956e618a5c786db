"""`pull` and `push` in a notebook's shell, on a real registry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support import registries
from support.registries import Registry
from support.rootfs import busybox_tar


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    """A registry without authentication."""
    if registries.BINARY is None:
        pytest.skip("needs Debian's docker-registry")
    with registries.running() as found:
        yield found


def test_pull_and_push_tell_their_steps_and_return_what_came_of_it(
    magic: Any, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = registry.image("nb:1", [busybox_tar()])["digest"]
    name, other = f"{registry.address}/nb:1", f"{registry.address}/other:2"
    image = magic("image", f"pull {name}")
    said = "".join(capsys.readouterr())
    assert "1: Pulling from nb" in said and f"Digest: {digest}" in said
    assert name in str(image)
    magic("image", f"tag {name} {other}")
    assert magic("docker", f"push {other}") == digest
    assert "The push refers to repository" in "".join(capsys.readouterr())
    assert magic("image", f"push -q -a {registry.address}/other") == {"2": digest}
    magic("image", f"rm {name} {other}")
