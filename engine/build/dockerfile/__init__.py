"""The Dockerfile language: text → AST (`parser`), AST → typed instructions (`convert`), words (`expand`).

Each part is a pure function, callable by itself; semantics are BuildKit's. All errors are `DockerfileError`.
"""

from __future__ import annotations

from dosirak.engine.build.dockerfile.ast import Dockerfile, Heredoc, Lines, Node
from dosirak.engine.build.dockerfile.convert import instruction, program
from dosirak.engine.build.dockerfile.expand import expand, expand_words
from dosirak.engine.build.dockerfile.parser import parse

__all__ = [
    "Dockerfile",
    "Heredoc",
    "Lines",
    "Node",
    "expand",
    "expand_words",
    "instruction",
    "parse",
    "program",
]
