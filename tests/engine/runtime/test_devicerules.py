"""Device rules as files of cgroup v1 and as a program of cgroup v2, both asked of this kernel where it has them."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dosirak.engine.runtime.cgroups import devicerules
from dosirak.engine.runtime.defaults import DEVICE_RULES
from support.host import CGROUPS

ALL = [{"allow": True, "access": "rwm"}]
NONE = [{"allow": False, "access": "rwm"}]


def rule(text: str, *, allow: bool = True) -> dict[str, Any]:
    kind, numbers, access = text.split()
    major, minor = numbers.split(":")
    found: dict[str, Any] = {"allow": allow, "type": kind, "access": access}
    return found | {name: int(n) for name, n in (("major", major), ("minor", minor)) if n != "*"}


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"allow": False, "access": "rwm"}, "a"),
        ({"allow": True}, "a"),
        ({"allow": True, "type": "a", "major": -1, "minor": -1, "access": "mrw"}, "a"),
        ({"allow": True, "type": "c", "access": "m"}, "c *:* m"),
        ({"allow": True, "type": "c", "major": 136, "access": "rwm"}, "c 136:* rwm"),
        ({"allow": True, "type": "b", "major": 8, "minor": 0, "access": "r"}, "b 8:0 r"),
    ],
)
def test_a_rule_is_a_line_of_v1(entry: dict[str, Any], line: str) -> None:
    assert devicerules.v1_line(entry) == line


# The kernel's answers

Asked = Callable[[Sequence[dict[str, Any]], str], str]


def _v1_groups() -> Path | None:
    path = CGROUPS / "devices"
    return path if (path / "devices.list").exists() else None


def _v2_groups() -> Path | None:
    return next((top for top in (CGROUPS, CGROUPS / "unified") if (top / "cgroup.controllers").exists()), None)


@pytest.fixture(params=["v1", "v2"])
def asked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asked]:
    """Which of r, w, m a process under the given rules may do with "c MAJOR:MINOR"."""
    top = _v1_groups() if request.param == "v1" else _v2_groups()
    if top is None:
        pytest.skip(f"this host has no cgroup {request.param}")
    made: list[Path] = []

    def ask(rules: Sequence[dict[str, Any]], device: str) -> str:
        group = top / f"dosirak-devices-{secrets.token_hex(4)}"
        group.mkdir()
        made.append(group)
        apply = devicerules.apply_v1 if request.param == "v1" else devicerules.attach_v2
        apply(str(group), rules)
        return _in_a_child(group, tmp_path, device)

    yield ask
    for group in made:
        group.rmdir()


def _in_a_child(group: Path, place: Path, device: str) -> str:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            (group / "cgroup.procs").write_text("0")
            os.write(write, _try(place, device).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with open(read, "rb") as said:
        return said.read().decode()


def _try(place: Path, device: str) -> str:
    kind, numbers = device.split()
    number = os.makedev(*map(int, numbers.split(":")))
    existing = {stat.S_IFCHR: "/sys/dev/char", stat.S_IFBLK: "/sys/dev/block"}
    mode = stat.S_IFCHR if kind == "c" else stat.S_IFBLK
    found = ""
    name = Path(f"{existing[mode]}/{numbers}/uevent").read_text().partition("DEVNAME=")[2].split()[0]
    for letter, flags in (("r", os.O_RDONLY), ("w", os.O_WRONLY)):
        with contextlib.suppress(PermissionError):
            os.close(os.open(f"/dev/{name}", flags | os.O_NOCTTY | os.O_NONBLOCK))
            found += letter
    node = place / f"node-{secrets.token_hex(4)}"
    with contextlib.suppress(PermissionError):
        os.mknod(node, mode | 0o600, number)
        node.unlink()
        found += "m"
    return found


def test_what_every_container_may_do(asked: Asked) -> None:
    rules = DEVICE_RULES
    for harmless in ("c 1:3", "c 1:5", "c 1:7", "c 1:8", "c 1:9", "c 5:2"):
        assert asked(rules, harmless) == "rwm", harmless
    for other in ("c 1:1", "c 10:183", "b 7:0"):
        if Path(f"/sys/dev/{'char' if other[0] == 'c' else 'block'}/{other[2:]}").exists():
            assert asked(rules, other) == "m", other
    assert "r" not in asked(rules, "c 10:229")
    assert "w" not in asked(rules, "c 10:229")


def test_a_device_that_is_asked_for_is_allowed_as_asked(asked: Asked) -> None:
    assert asked([*NONE, rule("c 1:3 r")], "c 1:3") == "r"
    assert asked([*NONE, rule("c 1:3 w"), rule("c 1:5 rwm")], "c 1:3") == "w"
    assert asked([*NONE, rule("c 1:* rm")], "c 1:5") == "rm"
    assert asked([*NONE, rule("b *:* rwm")], "c 1:3") == ""


def test_everything_and_nothing(asked: Asked) -> None:
    assert asked(ALL, "c 1:3") == "rwm"
    assert asked(NONE, "c 1:3") == ""


def test_accesses_given_one_by_one_add_up(asked: Asked) -> None:
    both = [*NONE, rule("c 1:3 r"), rule("c 1:5 rwm"), rule("c 1:3 w")]
    assert asked(both, "c 1:3") == "rw"


def test_a_program_that_was_loaded_ahead_is_the_same(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devicerules, "_Ready", type("_Ready", (), {"rules": None, "program": -1}))
    rules = [*NONE, rule("c 1:3 r")]
    devicerules.get_ready_v2(rules)
    assert asked([*NONE, rule("c 1:3 r")], "c 1:3") == "r"
    assert asked([*NONE, rule("c 1:3 r")], "c 1:5") == ""
    assert asked([*NONE, rule("c 1:5 w")], "c 1:5") == "w"
    os.close(devicerules._Ready.program)


def test_what_is_denied_later_is_denied() -> None:
    if (top := _v2_groups()) is None:
        pytest.skip("this host has no cgroup v2")
    group = top / f"dosirak-devices-{secrets.token_hex(4)}"
    group.mkdir()
    try:
        devicerules.attach_v2(str(group), [*ALL, rule("c 1:3 w", allow=False)])
        assert _in_a_child(group, Path("/tmp"), "c 1:3") == "rm"
        assert _in_a_child(group, Path("/tmp"), "c 1:5") == "rwm"
    finally:
        group.rmdir()
