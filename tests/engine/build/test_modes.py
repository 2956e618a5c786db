"""`--chmod` in letters, against the machine's own chmod."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosirak.engine.build.modes import parse_mode

MODES = [0o644, 0o755, 0o600, 0o4711, 0o2750, 0o1777, 0]
TEXTS = [
    "u=rwX,go=rX",
    "a+x",
    "+x",
    "-w",
    "go-rwx",
    "u+s,g+s",
    "o=",
    "g=u",
    "o=g-w",
    "=rw",
    "+t",
    "a=r,u+w+x",
    "ug-s",
]


@pytest.mark.parametrize("directory", [False, True])
@pytest.mark.parametrize("text", TEXTS)
def test_letters_mean_what_chmod_makes_of_them(tmp_path: Path, text: str, directory: bool) -> None:
    place = tmp_path / "x"
    place.mkdir() if directory else place.touch()
    for mode in MODES:
        place.chmod(mode)
        command = ["sh", "-c", 'umask 022; chmod -- "$0" "$1"', text, str(place)]
        subprocess.run(command, check=False, stderr=subprocess.DEVNULL)  # it grumbles about what the umask held back
        assert oct(parse_mode(text)(mode, directory)) == oct(place.stat().st_mode & 0o7777), (text, oct(mode))


def test_octal_sets_the_mode_whatever_it_was() -> None:
    assert parse_mode("0750")(0o4777, False) == 0o750
    assert parse_mode("07777")(0, True) == 0o7777


@pytest.mark.parametrize("text", ["64a", "10000", "u", "u=rwz", "", "u+r,", "a+ugo", "999"])
def test_what_is_no_mode_is_refused_in_buildkits_words(text: str) -> None:
    with pytest.raises(ValueError, match="it should be octal string and between 0 and 07777"):
        parse_mode(text)


@given(st.text(alphabet="ugoa+-=rwxXst,07", max_size=12), st.integers(0, 0o7777), st.booleans())
def test_any_text_is_a_mode_or_refused(text: str, mode: int, directory: bool) -> None:
    try:
        made = parse_mode(text)
    except ValueError:
        return
    assert 0 <= made(mode, directory) <= 0o7777
