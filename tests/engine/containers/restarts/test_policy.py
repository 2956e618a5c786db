"""Who comes back: Docker's rule as a table."""

from __future__ import annotations

import pytest

from dosirak.engine.containers import Container, ContainerConfig, HostConfig, State
from dosirak.engine.containers.documents import RestartPolicy
from dosirak.engine.containers.restarts.policy import delay, wants_up


def record(name, *, code=0, manual=False, most=0, restarts=0, started=1.0):
    return Container(
        id="0" * 64,
        name="x",
        created=1.0,
        image="",
        path="x",
        args=[],
        config=ContainerConfig(),
        host_config=HostConfig(restart_policy=RestartPolicy(name=name, maximum_retry_count=most)),
        state=State(started_at=started, exit_code=code),
        restart_count=restarts,
        manually_stopped=manual,
    )


@pytest.mark.parametrize(
    ("made", "after_boot", "before"),
    [
        (record("no", code=1), False, False),
        (record("always"), True, True),
        (record("always", manual=True), True, False),
        (record("always", started=0.0), False, False),
        (record("unless-stopped"), True, True),
        (record("unless-stopped", manual=True), False, False),
        (record("on-failure"), False, False),
        (record("on-failure", code=255), True, True),
        (record("on-failure", code=137, manual=True), True, False),
        (record("on-failure", code=1, most=3, restarts=3), False, False),
        (record("on-failure", code=1, most=3, restarts=2), True, True),
    ],
)
def test_who_comes_back(made, after_boot, before):
    assert wants_up(made, booted=True) is after_boot
    assert wants_up(made, booted=False) is before


def test_the_wait_doubles_to_a_minute_and_begins_anew_after_a_good_run():
    made = record("always")
    made.state.finished_at = 2.0
    waits = [0.0]
    for _ in range(12):
        waits.append(delay(made, waits[-1]))
    assert waits[1:5] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == 60.0
    made.state.finished_at = 12.0
    assert delay(made, 60.0) == 0.1
