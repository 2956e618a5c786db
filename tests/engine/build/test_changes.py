"""Dockerfile instructions applied to an image's settings, as `import --change` has them."""

from __future__ import annotations

import pytest

from dosirak.engine.build.changes import apply_changes
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.images import RunConfig


def test_changes_are_applied_in_order_on_what_was_there() -> None:
    before = RunConfig(env=["A=1"], cmd=["old"], labels={"x": "y"}, stop_timeout=7)
    changes = ['CMD ["sh", "-l"]', "ENV B=$A-2 C=3", "LABEL a=b", "EXPOSE 80 $C", "WORKDIR /w", "WORKDIR x", "USER me"]
    after = apply_changes(before, changes)
    assert (after.cmd, after.env, after.labels) == (["sh", "-l"], ["A=1", "B=1-2", "C=3"], {"a": "b", "x": "y"})
    assert after.exposed_ports == {"80/tcp": {}, "3/tcp": {}}
    assert (after.working_dir, after.user, after.stop_timeout) == ("/w/x", "me", 7)


def test_no_changes_change_nothing() -> None:
    config = RunConfig(cmd=["a"])
    assert apply_changes(config, []) is config


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("RUN x", "RUN is not a valid change command"),
        ("FROM x", "FROM is not a valid change command"),
        ("NOPE", "NOPE is not a valid change command"),
        ("EXPOSE x", "invalid containerPort: x"),
        ("ENV", "ENV requires at least one argument"),
    ],
)
def test_what_is_no_change_is_refused(change: str, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        apply_changes(RunConfig(), ["USER a", change])
