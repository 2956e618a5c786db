"""What can't hold for an ordinary user, by name, each with its reason: skipped by `make test-rootless`, nowhere else.

A key is the end of a test's file and, after "::", its name or the beginning of it.
"""

from __future__ import annotations

import pytest

_IDS = "needs owners beyond a user's 65536 ids"
_NODES = "makes device nodes"
_CGROUPS = "needs control groups, and this host delegates none to users"
_PAUSE = "pauses a container, which needs a control group"

REASONS = {
    "api/test_docker_py.py::test_a_container_from_create_to_remove": _CGROUPS,
    "containers/files/test_changes.py::test_parents_come_before_what_is_in_them_in_every_state": _PAUSE,
    "containers/files/test_committing.py::test_a_container_in_any_state_becomes_an_image": _PAUSE,
    "containers/files/test_committing.py::test_the_running_container_stands_still_meanwhile": _PAUSE,
    "containers/files/test_copying.py::test_a_container_in_any_state_gives_and_takes": _PAUSE,
    "containers/files/test_copying.py::test_everything_a_file_has_comes_through": _IDS,
    "containers/files/test_copying.py::test_export_is_the_root_without_mounts": _PAUSE,
    "containers/limits/test_bites.py::": _CGROUPS,
    "containers/limits/test_pausing.py::": _PAUSE,
    "containers/limits/test_update.py::": _CGROUPS,
    "containers/sharing/test_joining.py::test_a_user_namespace_and_its_network_are_handed_over": _IDS,
    "containers/stats/test_stats.py::test_the_numbers_are_those_of_the_cgroup": _CGROUPS,
    "containers/stats/test_stats.py::test_time_that_was_throttled_grows": _CGROUPS,
    "containers/test_inside.py::test_a_pids_limit_bites": _CGROUPS,
    "containers/test_inside.py::test_limits_are_in_the_cgroup": _CGROUPS,
    "containers/test_lifecycle.py::test_an_out_of_memory_kill_is_told": _CGROUPS,
    "images/test_readers.py::test_umoci_unpacks_from_the_store_what_the_engine_unpacks": _IDS,
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
