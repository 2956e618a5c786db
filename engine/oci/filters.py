"""`linux.seccomp` as a compiled program: kept below --root, so that only the first container pays for compiling.

The compiler needs what only a whole Python has (site-packages); a start from a kept program does not import it.
"""

from __future__ import annotations

import os

from dosirak.engine.oci import documents
from dosirak.engine.oci.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FOLDER = "@seccomp"  # no container can have this name
_COMPILER = ("compiler.py", "bpf.py", "document.py", "tables.py")


def find(root: str, linux: dict[str, Any]) -> int:
    """A descriptor of the program, or -1 without linux.seccomp. Raises Failure for one that can't be compiled."""
    document = linux.get("seccomp")
    if not document:
        return -1
    text = documents.dumps(document).encode()
    folder = f"{root}/{_FOLDER}"
    path = f"{folder}/{_key(text)}"
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        program = _compile(text)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    beside = f"{path}.{os.getpid()}"
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(program)  # all of it, or an error: a full disk must leave no half one to be found
    os.rename(beside, path)
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _key(text: bytes) -> str:
    """Of the document, the machine and the compiler as it is now."""
    from _blake2 import blake2b  # few containers have no filter, but those are the quick ones

    here = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "runtime", "seccomp")
    compiler = [(found.st_size, found.st_mtime_ns) for found in (os.stat(f"{here}/{name}") for name in _COMPILER)]
    return blake2b(repr((os.uname().machine, compiler)).encode() + text, digest_size=32).hexdigest()


def _compile(text: bytes) -> bytes:
    import site

    site.main()  # this Python runs without (-S)
    try:
        from dosirak.engine.runtime.seccomp import ProfileError, compiler
        from dosirak.engine.runtime.seccomp.document import read
    except ImportError as error:
        raise Failure(f"linux.seccomp can't be compiled by this Python: {error}") from error
    try:
        return compiler.compile_document(read(text))
    except ProfileError as error:
        raise Failure(f"linux.seccomp: {error}") from error
