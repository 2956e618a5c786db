"""Names and masks of capabilities, compared with the kernel's and with capabilities(7)."""

from __future__ import annotations

from pathlib import Path

import pytest

from dosirak.engine.runtime import defaults
from dosirak.engine.runtime.capabilities import NAMES, mask


def test_dockers_default_mask() -> None:
    assert mask(defaults.DEFAULT_CAPABILITIES) == 0xA80425FB
    assert len(set(defaults.DEFAULT_CAPABILITIES)) == 14


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("CAP_CHOWN", 0),
        ("CAP_KILL", 5),
        ("CAP_NET_BIND_SERVICE", 10),
        ("CAP_NET_ADMIN", 12),
        ("CAP_SYS_ADMIN", 21),
        ("CAP_SYS_RESOURCE", 24),
        ("CAP_MKNOD", 27),
        ("CAP_SETFCAP", 31),
        ("CAP_MAC_OVERRIDE", 32),
        ("CAP_SYSLOG", 34),
        ("CAP_AUDIT_READ", 37),
        ("CAP_CHECKPOINT_RESTORE", 40),
    ],
)
def test_numbers_are_the_kernels(name: str, number: int) -> None:
    assert mask([name]) == 1 << number


def test_every_capability_of_this_kernel_has_a_name() -> None:
    assert int(Path("/proc/sys/kernel/cap_last_cap").read_text()) < len(NAMES) == len(set(NAMES))


def test_masks_add_up() -> None:
    assert mask([]) == 0
    assert mask(NAMES) == (1 << len(NAMES)) - 1
    assert mask(["CAP_CHOWN", "CAP_CHOWN"]) == 1
    for unknown in ("CHOWN", "cap_chown", "CAP_FLY", ""):
        with pytest.raises(KeyError):
            mask([unknown])
