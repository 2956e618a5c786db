"""What a health check asks for and what its results mean, in Docker's rules."""

from __future__ import annotations

import pytest

from dosirak.engine.containers.documents import ContainerConfig, HealthConfig
from dosirak.engine.containers.health import Health, Result
from dosirak.engine.containers.health.plan import Plan, go_duration, judge, pause, plan

SECOND = 10**9


def of(**check):
    return plan(ContainerConfig(healthcheck=HealthConfig(**check)))


def result(code, start=100.0):
    return Result(start, start + 1, code, "")


def test_without_a_check_there_is_no_plan():
    assert plan(ContainerConfig()) is None
    assert of(test=["NONE"]) is None
    assert of(test=[]) is None
    assert of(test=["ODD", "x"]) is None


def test_docker_s_defaults_fill_what_is_left_out():
    assert of(test=["CMD", "true"]) == Plan(["true"], 30.0, 30.0, 0.0, 5.0, 3)
    assert of(
        test=["CMD-SHELL", "curl -f localhost"],
        interval=2 * SECOND,
        timeout=SECOND // 2,
        start_period=7 * SECOND,
        start_interval=SECOND,
        retries=1,
    ) == Plan(["/bin/sh", "-c", "curl -f localhost"], 2.0, 0.5, 7.0, 1.0, 1)


def test_the_image_s_shell_runs_a_shell_check():
    config = ContainerConfig(shell=["bash", "-ec"], healthcheck=HealthConfig(test=["CMD-SHELL", "x"]))
    found = plan(config)
    assert found is not None and found.command == ["bash", "-ec", "x"]


def test_failures_in_a_row_make_it_unhealthy_and_one_success_healthy():
    wanted, health = Plan(["x"], retries=2), Health()
    assert not judge(wanted, health, result(1), 0.0)
    assert health.failing_streak == 1 and health.status == "starting"
    assert judge(wanted, health, result(-1), 0.0)
    assert health.status == "unhealthy"
    assert not judge(wanted, health, result(1), 0.0)
    assert judge(wanted, health, result(0), 0.0)
    assert (health.status, health.failing_streak) == ("healthy", 0)
    assert not judge(wanted, health, result(1), 0.0)
    assert (health.status, health.failing_streak) == ("healthy", 1)


def test_failures_in_the_start_period_do_not_count_until_the_first_success():
    wanted, health = Plan(["x"], start_period=60.0, retries=1), Health()
    assert not judge(wanted, health, result(1, 159.0), 100.0)
    assert health.failing_streak == 0
    assert judge(wanted, health, result(0, 120.0), 100.0)
    assert judge(wanted, health, result(1, 121.0), 100.0)
    assert health.status == "unhealthy"
    late = Health()
    assert judge(wanted, late, result(1, 160.0), 100.0)


def test_five_results_are_kept():
    health = Health()
    for code in range(7):
        judge(Plan(["x"]), health, result(code), 0.0)
    assert [entry.exit_code for entry in health.log] == [2, 3, 4, 5, 6]


def test_the_start_interval_holds_while_starting():
    wanted = Plan(["x"], interval=30.0, start_period=10.0, start_interval=1.0)
    assert pause(wanted, Health(), 9.0) == 1.0
    assert pause(wanted, Health(), 10.0) == 30.0
    assert pause(wanted, Health("healthy"), 9.0) == 30.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (1, "1s"), (1.5, "1.5s"), (90, "1m30s"), (3600, "1h0m0s"), (0.5, "500ms"), (0.0000015, "1.5µs")],
)
def test_durations_are_written_as_go_writes_them(seconds, words):
    assert go_duration(seconds) == words
