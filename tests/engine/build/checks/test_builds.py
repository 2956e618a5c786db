"""Build checks in whole builds: told beside the work, or in its place."""

from __future__ import annotations

from dosirak.engine.build import model

from ..conftest import Rig


async def test_findings_are_told_before_the_first_step(rig: Rig) -> None:
    built = await rig.build("FROM busybox\nMAINTAINER me\nRUN true\nENTRYPOINT a b\n")
    assert built.text.startswith(
        "[Warning] MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 2)\n"
        "[Warning] JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior"
        " related to OS signals (line 4)\nStep 1/4 : FROM busybox\n"
    )
    assert [event.line for event in built.events if isinstance(event, model.BuildWarning)] == [2, 4]


async def test_file_that_wants_no_findings_fails_before_anything_runs(rig: Rig) -> None:
    built = await rig.try_build("# check=error=true\nFROM busybox\nRUN true\nCMD a\n")
    assert "lint violation found for rules: JSONArgsRecommended" in str(built.error)
    assert [type(event) for event in built.events[1:]] == [model.BuildWarning, model.BuildFailed]
    assert not built.ran and not rig.left()


async def test_file_without_findings_is_silent(rig: Rig) -> None:
    built = await rig.build('FROM busybox\nRUN echo $HOME\nCMD ["a"]\n')
    assert not [event for event in built.events if isinstance(event, model.BuildWarning)]
