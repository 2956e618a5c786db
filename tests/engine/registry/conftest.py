"""A real registry, shared by this folder's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import registries


@pytest.fixture(scope="session")
def registry() -> Iterator[registries.Registry]:
    """A registry without authentication."""
    if registries.BINARY is None:
        pytest.skip("needs Debian's docker-registry")
    with registries.running() as found:
        yield found
