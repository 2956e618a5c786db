"""Giving an error the place it concerns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dosirak.engine.build.dockerfile.ast import Dockerfile, Lines
from dosirak.engine.build.errors import DockerfileError


@contextmanager
def placed(file: Dockerfile, lines: Lines) -> Iterator[None]:
    """DockerfileErrors raised inside, unless they know their place already, concern these lines of the file."""
    try:
        yield
    except DockerfileError as error:
        if error.first:
            raise
        located = DockerfileError(error.problem, lines.first, lines.last, file.filename, file.source)
        raise located from error.__cause__
