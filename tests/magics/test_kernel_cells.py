"""Cells of a real kernel: output as it comes, and interrupts that leave kernel and engine well."""

from __future__ import annotations

from typing import Any

import pytest

from support.engines import Engine


def names(engine: Engine) -> list[str]:
    return [container.name for container in engine.client.containers.list(all=True)]


def test_output_streams_while_the_container_runs(kernel: Any) -> None:
    kernel.run("%container run --rm busybox true")  # docker-py is imported by now
    ran = kernel.run("%container run --rm busybox sh -c 'echo first; sleep 2; echo last'")
    assert ran.stdout == "first\nlast\n"
    assert ran.first_output < 1.5 < ran.seconds


def test_an_interrupt_is_a_sigint_to_the_container(kernel: Any, engine: Engine) -> None:
    script = 'trap "echo bye; exit 9" INT; echo ready; while :; do sleep 0.05; done'
    ran = kernel.run(f"%container run --rm --name polite busybox sh -c '{script}'", interrupts=(1.5,))
    assert ran.stdout == "ready\nbye\n"
    assert "interrupted: polite ended with exit status 9" in ran.error
    assert ran.error_name == "Interrupted"
    assert names(engine) == []
    assert kernel.run("6 * 7").text == "42"


def test_a_second_interrupt_kills(kernel: Any, engine: Engine) -> None:
    # sleep as process 1 takes no SIGINT: nothing handles it, and process 1 has no default action.
    ran = kernel.run("%container run --rm --name stubborn busybox sleep 100", interrupts=(1.5, 2.0))
    assert "stubborn ended with exit status 137 (SIGKILL)" in ran.error
    assert "interrupt again to kill it" in ran.stderr
    assert ran.seconds < 6
    assert names(engine) == []
    assert "CONTAINER ID" in kernel.run("%container ps").text


@pytest.mark.slow
def test_after_ten_seconds_it_is_killed_anyway(kernel: Any, engine: Engine) -> None:
    ran = kernel.run("%container run --rm busybox sleep 100", interrupts=(1.5,))
    assert "exit status 137 (SIGKILL)" in ran.error
    assert 10 < ran.seconds < 16


def test_following_logs_ends_quietly_at_an_interrupt(kernel: Any) -> None:
    kernel.run("%container run -d --name ticking busybox sh -c 'while :; do echo tick; sleep 0.1; done'")
    ran = kernel.run("%container logs -f ticking", interrupts=(1.0,))
    assert ran.stdout.count("tick") >= 4
    assert not ran.error
    assert "ticking" in kernel.run("%container ps").text


def test_an_interrupted_exec_leaves_the_container(kernel: Any) -> None:
    kernel.run("%container run -d --name box busybox sleep 100")
    ran = kernel.run("%container exec box sleep 50", interrupts=(1.0,))
    assert "the command may still run" in ran.error
    assert "Up" in kernel.run("%container ps").text


def test_an_interrupted_build_is_cancelled(kernel: Any) -> None:
    ran = kernel.run("%%dockerfile -t never\nFROM busybox\nRUN echo begun; sleep 60\n", interrupts=(2.0,))
    assert "interrupted: the build was cancelled" in ran.error
    assert ran.seconds < 10
    assert "never" not in kernel.run("%image ls").text


def test_a_build_updates_one_block_and_yields_the_image(kernel: Any) -> None:
    ran = kernel.run("%%dockerfile -t shown\nFROM busybox\nRUN echo one; sleep 0.5; echo two\n")
    assert not ran.error
    block, value = ran.data[-2], ran.data[-1]
    assert "built shown:latest in" in block["text/plain"]
    assert "one\ntwo" in block["text/html"]
    assert value["text/plain"].startswith("shown:latest")
    assert ran.stdout == ""


def test_success_shows_no_status_and_failure_one_line(kernel: Any) -> None:
    assert kernel.run("%container run --rm busybox true").data == []
    ran = kernel.run("%container run --rm busybox sh -c 'exit 3'")
    assert (ran.text, ran.error) == ("exit status 3", "")


def test_an_error_is_one_line_without_a_traceback(kernel: Any) -> None:
    ran = kernel.run("%container run --rm busybox nosuch")
    assert ran.error.count("\n") == 0 and "executable file not found in $PATH" in ran.error


def test_a_container_in_the_foreground_outlives_its_service(kernel: Any, engine: Engine) -> None:
    import threading

    kernel.run("%container run --rm busybox true")
    threading.Timer(1.0, engine.kill).start()
    threading.Timer(2.5, engine.start).start()
    ran = kernel.run("%container run --name survivor busybox sh -c 'echo early; sleep 5; echo late; exit 6'")
    # The stream is the container's own: it outlives the service. The status comes from the next one.
    assert ran.stdout == "early\nlate\n"
    assert (ran.error, ran.text) == ("", "exit status 6")
    assert "survivor" in kernel.run("%container ps -a").text
