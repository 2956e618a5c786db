"""A real registry, shared by this folder's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import registries
from support.engines import Engine


@pytest.fixture(scope="session")
def registry() -> Iterator[registries.Registry]:
    """A registry without authentication."""
    if registries.BINARY is None:
        pytest.skip("needs Debian's docker-registry")
    with registries.running() as found:
        yield found


@pytest.fixture(autouse=True)
def tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    """Removes what lost its tag to a later pull: other tests share the engine."""
    # Asked for first, so that it is still there at the end.
    engine: Engine | None = request.getfixturevalue("engine") if "engine" in request.fixturenames else None
    yield
    if engine is not None:
        for image in engine.client.images.list():
            if not image.tags:
                engine.client.images.remove(image.id, force=True)
