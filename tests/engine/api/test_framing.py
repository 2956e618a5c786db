"""Where a request ends: the byte at which a connection is cut when it becomes a raw stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosirak.engine.api import framing

ATTACH = b"POST /v1.51/containers/abc/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"POST /containers/a/attach HTTP/1.1\r\n", True),
        (b"POST /v1.43/containers/a/attach?stdin=1 HTTP/1.1\r\n", True),
        (b"POST /v1.43/exec/0a1b/start HTTP/1.1\r\n", True),
        (b"POST /exec/0a1b/start HTTP/1.0\r\n", True),
        (b"GET /containers/a/attach/ws HTTP/1.1\r\n", False),
        (b"GET /containers/a/attach HTTP/1.1\r\n", False),
        (b"POST /containers/a/start HTTP/1.1\r\n", False),
        (b"POST /containers/a/attachment HTTP/1.1\r\n", False),
        (b"POST /containers/a/wait?x=/attach HTTP/1.1\r\n", False),
    ],
)
def test_only_attach_and_exec_start_may_take_a_connection(line: bytes, expected: bool) -> None:
    assert framing.takes_over(line) is expected


@pytest.mark.parametrize(
    "body_and_header",
    [
        (b"", b""),
        (b"", b"Content-Length: 0\r\n"),
        (b"{}", b"content-length: 2\r\n"),
        (b'{"Detach":false}', b"Content-Length:16\r\n"),
        (b"2\r\n{}\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\n"),
        (b"2;a=b\r\n{}\r\nA\r\n0123456789\r\n0\r\n\r\n", b"transfer-encoding: Chunked\r\n"),
    ],
)
@given(behind=st.binary(max_size=40), cut=st.integers(min_value=0))
def test_a_request_ends_at_its_last_byte_whatever_follows(
    body_and_header: tuple[bytes, bytes], behind: bytes, cut: int
) -> None:
    body, header = body_and_header
    request = ATTACH + header + b"\r\n" + body
    assert framing.request_end(request + behind) == len(request)
    # A part of it is never taken for the whole.
    part = request[: cut % len(request)]
    assert framing.request_end(part) == -1


@pytest.mark.parametrize("body", [b"zz\r\n{}\r\n", b"-1\r\n", b"x" * 70])
def test_a_chunked_body_that_makes_no_sense_is_left_to_the_parser_whole(body: bytes) -> None:
    request = ATTACH + b"Transfer-Encoding: chunked\r\n\r\n" + body
    assert framing.request_end(request) == len(request)
