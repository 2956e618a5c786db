"""What can't hold for an ordinary user, by name, each with its reason: skipped by `make test-rootless`, nowhere else.

A key is the end of a test's file and, after "::", its name or the beginning of it.
"""

from __future__ import annotations

import pytest

_IDS = "needs owners beyond a user's 65536 ids"
_NODES = "makes device nodes"
_CGROUPS = "needs control groups; this host delegates none to users"

REASONS = {
    "layers/test_extract.py::test_owner_mode_time_and_content": _NODES,
    "layers/test_pack.py::test_an_unpacked_layer_packs_into_the_same_layer_again": _IDS,
    "layers/test_pack.py::test_gnu_tar_reads_it_and_finds_what_is_there": _IDS,
}


def reason_for(node_id: str) -> str:
    """Why this test is skipped; "" if it isn't."""
    file, _, name = node_id.partition("::")
    for key, reason in REASONS.items():
        wanted, _, start = key.partition("::")
        if file.endswith(wanted) and name.startswith(start):
            return reason
    return ""


def skip(items: list[pytest.Item]) -> None:
    """Mark what is to be skipped."""
    for item in items:
        if reason := reason_for(item.nodeid):
            item.add_marker(pytest.mark.skip(reason=f"not for an ordinary user: {reason}"))
