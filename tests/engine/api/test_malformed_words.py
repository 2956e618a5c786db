"""Bodies that are no JSON: what is wrong, in the words of Go's reader, which Docker's clients and tests know."""

from __future__ import annotations

import pytest

from dosirak.engine.api import malformed


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{invalid json", "invalid character 'i' looking for beginning of object key string"),
        (b"{'a': 1}", r"invalid character '\'' looking for beginning of object key string"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a": 1 "b": 2}', "invalid character '\"' after object key:value pair"),
        (b'{"a": ["}", 1 2]}', "invalid character '2' after array element"),
        (b'{"a": x}', "invalid character 'x' looking for beginning of value"),
        (b'{"a": "\\x"}', "invalid character 'x' in string escape code"),
        (b"{} trailing", malformed.TRAILING),
        (b'{"a": "', "unexpected EOF"),
        (b'{"a":', "unexpected EOF"),
        (b"[" * 60_000, "exceeded max depth"),
        (b'{"a": 1}', None),
        (b"[" * 100_000, None),
        (b"[" + b"1" * 5000 + b",", None),
    ],
)
def test_a_mistake_in_go_s_words(body: bytes, words: str | None) -> None:
    assert malformed.explain(body) == words
