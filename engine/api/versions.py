"""API versions: which are spoken, how a client's is read, and Docker's words for too old and too new."""

from __future__ import annotations

import re

from dosirak.engine.errors import InvalidRequest

Version = tuple[int, int]

MINIMUM: Version = (1, 24)
MAXIMUM: Version = (1, 51)

_PREFIX = re.compile(r"/v([0-9.]+)(?=/|$)")
_NUMBER = re.compile(r"(\d{1,6})\.(\d{1,6})(?:\.\d+)*")


def text(version: Version) -> str:
    """A version as Docker writes it: "1.51"."""
    return f"{version[0]}.{version[1]}"


def split(path: str) -> tuple[str, str]:
    """Split "/v1.43/info" into ("1.43", "/info"); ("", path) without a version."""
    prefix = _PREFIX.match(path)
    if prefix is None:
        return "", path
    return prefix[1], path[prefix.end() :]


def negotiate(asked: str) -> Version:
    """The version to answer in, given the one in the request's path ("" for none).

    Raises InvalidRequest in Docker's words when it is older or newer than what is spoken here.
    """
    if not asked:
        return MAXIMUM
    number = _NUMBER.fullmatch(asked)
    # Docker compares component by component and takes what is no number for 0.
    version = (int(number[1]), int(number[2])) if number else (0, 0)
    if version < MINIMUM:
        raise InvalidRequest(
            f"client version {asked} is too old. Minimum supported API version is {text(MINIMUM)},"
            " please upgrade your client to a newer version"
        )
    if version > MAXIMUM:
        raise InvalidRequest(f"client version {asked} is too new. Maximum supported API version is {text(MAXIMUM)}")
    return version
