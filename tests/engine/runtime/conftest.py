"""The runtime's tests: launches on the real kernel, without an engine service."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.launches import (  # noqa: F401
    box,
    busybox_root,
    host_is_untouched,
    marker,
    network,
    own_launcher,
    python,
    python_mounts,
    share_a_loop,
    shared_launcher,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    share_a_loop(items, Path(__file__).parent)
