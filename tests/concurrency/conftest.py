"""Clients of one engine that speak raw HTTP, and what they then check."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.api import Api
from support.engines import Engine


@pytest.fixture
def api(fresh_engine: Engine) -> Iterator[Api]:
    """A client of an engine of the test's own, with the small image."""
    fresh_engine.import_busybox()
    made = Api(fresh_engine.socket)
    yield made
    made.close()
