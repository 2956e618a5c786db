"""Characters and words as the Dockerfile language has them: white space, splitting, suggestions for typos."""

from __future__ import annotations

import re
from collections.abc import Iterable

SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005"
    "\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""What the language trims and splits at where it means any white space: Unicode's White_Space.

Python's own idea of white space also has the four ASCII separators (U+001C to U+001F), hence this list.
"""

BLANKS = re.compile(r"[\t\v\f\r ]+")
"""What separates plain words on a logical line."""


_LONGEST_TYPO = 100


def trim(text: str) -> str:
    """`text` without white space at both ends."""
    return text.strip(SPACES)


def split_quoted(text: str, escape: str) -> list[str]:
    """Splits at unquoted white space; quotes and escapes stay in the words, for expansion to take off later."""
    words: list[str] = []
    word: list[str] = []
    quote = ""
    open_word = False
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if not quote and char in SPACES:
            if open_word:
                words.append("".join(word))
            word, open_word = [], False
            continue
        if char == escape and quote != "'":
            if position == len(text):
                break  # an escape that escapes nothing is dropped
            word += [char, text[position]]
            position += 1
            open_word = True
            continue
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        word.append(char)
        open_word = True
    if open_word:
        words.append("".join(word))
    return words


def suggestion(word: str, options: Iterable[str], ignore_case: bool = False) -> str:
    """ " (did you mean X?)" for the nearest option less than three edits away, else "".

    With `ignore_case` the options are given in lower case and the answer is written in the case of `word`.
    """
    wanted = word.lower() if ignore_case else word
    if len(wanted) > _LONGEST_TYPO:  # hostile input: the work grows with the square of the length
        return ""
    near = sorted(option for option in options if abs(len(option) - len(wanted)) < 3)
    distance, best = min(((_distance(wanted, option), option) for option in near), default=(3, ""))
    if distance >= 3 or distance == 0:
        return ""
    if ignore_case and word.isupper():
        best = best.upper()
    return f" (did you mean {best}?)"


def _distance(one: str, other: str) -> int:
    """Edits from one word to the other: a character put in, left out or exchanged, or two neighbours swapped."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one):
        before, last, row = row, before, [i + 1]
        for j, b in enumerate(other):
            cost = min(before[j + 1] + 1, row[j] + 1, before[j] + (a != b))
            if i and j and a == other[j - 1] and b == one[i - 1]:
                cost = min(cost, last[j - 1] + 1)
            row.append(cost)
    return row[-1]
