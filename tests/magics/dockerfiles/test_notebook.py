"""A `%%dockerfile` cell in IPython: Tab, tooltips, `RUN?`."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter

from dosirak.magics.dockerfiles import Help


def tab(shell: Any, code: str) -> list[str]:
    """The cell as it would be after each of the completions at its end."""
    with provisionalcompleter():
        return [code[: found.start] + found.text for found in shell.Completer.completions(code, len(code))]


def test_tab_completes_the_language_and_no_python(shell: Any) -> None:
    assert tab(shell, "%%dockerfile -t x\nFRO") == ["%%dockerfile -t x\nFROM"]
    head = "%%dockerfile\nFROM a AS base\nFROM b\nCOPY --fr"
    assert tab(shell, head) == [f"{head}om="]
    assert f"{head}om=base" in tab(shell, f"{head}om=")
    assert tab(shell, "%%dockerfile --no-cache-f") == ["%%dockerfile --no-cache-filter"]
    assert "print" in tab(shell, "prin")


def test_tab_knows_the_images_that_are_here(shell: Any) -> None:
    assert "%%dockerfile\nFROM busybox" in tab(shell, "%%dockerfile\nFROM busyb")


def test_tooltip_explains_an_instruction(shell: Any) -> None:
    bundle = shell.object_inspect_mime("HEALTHCHECK")
    assert "--start-period=" in bundle["text/plain"] and "NONE" in bundle["text/html"]
    shell.user_ns["RUN"] = 5
    assert "int" in shell.object_inspect_mime("RUN")["text/plain"]
    for name in ("expose", "NOPE"):
        with pytest.raises(KeyError):
            shell.object_inspect_mime(name)


def test_question_in_a_cell_explains_instead_of_building(magic: Any) -> None:
    for found in (magic("dockerfile", "-t never", "FROM busybox\nCOPY?\n"), magic("dockerfile", "copy")):
        assert isinstance(found, Help) and found.name == "COPY"
        assert "COPY --from=build" in repr(found) and "#copy" in found._repr_html_()


def test_loading_the_extension_again_changes_nothing(shell: Any) -> None:
    before = (list(shell.Completer.custom_matchers), shell.object_inspect_mime)
    shell.run_line_magic("reload_ext", "dosirak")
    assert (list(shell.Completer.custom_matchers)[-1:], shell.object_inspect_mime) == (before[0][-1:], before[1])


def test_kernel_answers_jupyter(kernel: Any) -> None:
    code = "%%dockerfile\nFROM busybox AS base\nFROM scratch\nCOPY --from=b"
    found = kernel.client.complete(code, reply=True, timeout=40)["content"]
    assert "base" in found["matches"] and code[found["cursor_start"] : found["cursor_end"]] == "b"
    told = kernel.client.inspect(code, cursor_pos=code.index("COPY") + 2, reply=True, timeout=40)["content"]
    assert told["found"] and "COPY --from=build" in told["data"]["text/plain"]
