"""Events → the classic builder's messages: order, wording, quiet mode, failures."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosirak.engine.build import Renderer
from dosirak.engine.build import model as m
from dosirak.engine.build.messages import error_message, render

STEPS = tuple(m.StepInfo(text, "0", line, line) for line, text in enumerate(["FROM a", "RUN b", "RUN c"], 1))
IMAGE = "sha256:" + "d" * 64


def texts(events: list[m.Progress]) -> str:
    return "".join(message.get("stream", "") for message in render(events))


def whole_build() -> list[m.Progress]:
    return [
        m.BuildStarted(0, "id", STEPS),
        m.StepStarted(1, 1),
        m.StepFinished(1, 1, "a" * 64, 0.1),
        m.StepStarted(2, 2),
        m.StepRunning(2, 2, "c" * 64),
        m.StepOutput(2, 2, 1, b"out\n"),
        m.StepOutput(2, 2, 2, b"err\n"),
        m.StepFinished(3, 2, "b" * 64, 0.1),
        m.StepStarted(3, 3),
        m.StepCached(3, 3),
        m.StepFinished(3, 3, "e" * 64, 0.1),
        m.BuildFinished(4, IMAGE, ("x:latest", "y:1")),
    ]


def test_build_reads_as_the_classic_builder_writes_it() -> None:
    assert texts(whole_build()) == (
        "Step 1/3 : FROM a\n"
        " ---> aaaaaaaaaaaa\n"
        "Step 2/3 : RUN b\n"
        " ---> Running in cccccccccccc\n"
        "out\n"
        "\x1b[91merr\n\x1b[0m"
        " ---> Removed intermediate container cccccccccccc\n"
        " ---> bbbbbbbbbbbb\n"
        "Step 3/3 : RUN c\n"
        " ---> Using cache\n"
        " ---> eeeeeeeeeeee\n"
        "Successfully built dddddddddddd\n"
        "Successfully tagged x:latest\n"
        "Successfully tagged y:1\n"
    )
    assert {"aux": {"ID": IMAGE}} in render(whole_build())


def test_later_step_waits_until_the_earlier_ones_have_spoken() -> None:
    renderer = Renderer()
    renderer.feed(m.BuildStarted(0, "id", STEPS))
    assert renderer.feed(m.StepStarted(1, 2)) == []
    assert renderer.feed(m.StepOutput(1, 2, 1, b"early\n")) == []
    assert renderer.feed(m.StepStarted(2, 1)) == [{"stream": "Step 1/3 : FROM a\n"}]
    told = renderer.feed(m.StepFinished(3, 1, "a" * 64, 0))
    assert [message["stream"] for message in told] == [" ---> aaaaaaaaaaaa\n", "Step 2/3 : RUN b\n", "early\n"]
    assert renderer.feed(m.StepOutput(4, 2, 1, b"live\n")) == [{"stream": "live\n"}]


def test_failed_command_ends_the_stream_with_its_code() -> None:
    message = "The command '/bin/sh -c exit 3' returned a non-zero code: 3"
    events = [*whole_build()[:7], m.StepFailed(3, 2, message), m.BuildFailed(3, message, 3)]
    assert render(events)[-1] == {"errorDetail": {"code": 3, "message": message}, "error": message}
    assert error_message("plain") == {"errorDetail": {"message": "plain"}, "error": "plain"}


def test_failure_shows_what_the_other_steps_had_said() -> None:
    events = [
        m.BuildStarted(0, "id", STEPS),
        m.StepStarted(1, 1),
        m.StepStarted(1, 3),
        m.StepOutput(1, 3, 1, b"why\n"),
        m.BuildFailed(2, "x"),
    ]
    assert "why\n" in texts(events)


def test_quiet_build_says_the_image_alone_or_everything_when_it_fails() -> None:
    assert render(whole_build(), quiet=True) == [{"stream": IMAGE + "\n"}]
    failed = [*whole_build()[:7], m.BuildFailed(3, "x", 1)]
    assert render(failed, quiet=True) == render(failed)


def test_warning_and_output_that_is_no_text() -> None:
    events = [m.BuildStarted(0, "id", STEPS), m.BuildWarning(0, "careful", 3), m.StepOutput(1, 1, 1, b"\xff\n")]
    assert texts(events) == "[Warning] careful\n\ufffd\n"


def test_argument_before_the_first_from_has_no_state() -> None:
    events = [m.BuildStarted(0, "id", STEPS), m.StepStarted(0, 1), m.StepFinished(0, 1, "", 0)]
    assert texts(events) == "Step 1/3 : FROM a\n"


@pytest.mark.parametrize("event", whole_build(), ids=lambda event: type(event).__name__)
def test_every_event_survives_json(event: m.Progress) -> None:
    kinds = (
        m.BuildStarted | m.StepStarted | m.StepCached | m.StepRunning | m.StepOutput | m.StepFinished | m.BuildFinished
    )
    assert msgspec.json.decode(msgspec.json.encode(event), type=kinds) == event


@given(st.permutations(range(1, 4)), st.data())
def test_any_interleaving_of_steps_reads_in_order(order: list[int], data: st.DataObject) -> None:
    scripts = {step: _whole_step(step) for step in order}
    events: list[m.Progress] = [m.BuildStarted(0, "id", STEPS)]
    while any(scripts.values()):
        step = data.draw(st.sampled_from([step for step, rest in scripts.items() if rest]))
        events.append(scripts[step].pop(0))
    expected = "".join(f"Step {n}/3 : {STEPS[n - 1].text}\n{n}\n ---> {'f' * 12}\n" for n in (1, 2, 3))
    assert texts(events) == expected


def _whole_step(step: int) -> list[m.Progress]:
    output = m.StepOutput(0, step, 1, f"{step}\n".encode())
    return [m.StepStarted(0, step), output, m.StepFinished(0, step, "f" * 64, 0)]
