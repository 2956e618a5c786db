"""Where a copy comes from and where it goes: the docker CLI's rules (go-archive, copy.go)."""

# Path would drop the "/" and "/." at an end, which mean something here.
# ruff: noqa: PTH115, PTH116

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable
from dataclasses import dataclass

from dosirak.magics.errors import DosirakError


@dataclass(frozen=True, slots=True)
class End:
    """One end of a copy: `rename` is the name that a symlink was asked by whose target is copied."""

    path: str
    exists: bool = False
    is_directory: bool = False
    rename: str = ""


def split_argument(argument: str) -> tuple[str, str]:
    """`CONTAINER:PATH` as (container, path); a local path as ("", path)."""
    container, colon, path = argument.partition(":")
    if argument.startswith("/") or not colon or container.startswith("."):
        return "", argument
    return container, path


def keep_ending(cleaned: str, original: str) -> str:
    """The cleaned path, asking for a directory (by "/" or "/.") if the original did."""
    if base(cleaned) != "." and base(original) == ".":
        cleaned = f"{cleaned.rstrip('/')}/."
    if not cleaned.endswith("/") and original.endswith("/"):
        cleaned += "/"
    return cleaned


def asks_for_directory(path: str) -> bool:
    """Whether the path ends so that it must be a directory."""
    return path.endswith("/") or base(path) == "."


def base(path: str) -> str:
    """Go's filepath.Base."""
    return path.rstrip("/").rpartition("/")[2] or ("/" if path else ".")


def split_entry(path: str) -> tuple[str, str]:
    """The directory and the entry in it; a trailing "." is the entry."""
    cleaned = clean(path)
    if base(path) == ".":
        return cleaned, "."
    return posixpath.dirname(cleaned) or ".", base(cleaned)


def clean(path: str) -> str:
    """Go's filepath.Clean."""
    cleaned = posixpath.normpath(path) if path else "."
    return "/" + cleaned.lstrip("/") if cleaned.startswith("//") else cleaned


def renamed(path: str, resolved: str) -> tuple[str, str]:
    """The path that a symlink led to, ending as what was asked; and the name it was asked by, if that differs."""
    if base(path) == "." and base(resolved) != ".":
        resolved += "/."
    if path.endswith("/") and not resolved.endswith("/"):
        resolved += "/"
    return resolved, "" if base(path) == base(resolved) else base(path)


def follow_source(path: str, *, follow: bool) -> End:
    """A local source: links before its last component are followed, the last one when asked.

    Raises DosirakError when it is not there.
    """
    try:
        if follow:
            resolved, rename = renamed(path, os.path.realpath(path, strict=True))
        else:
            directory, name = path.rpartition("/")[::2]
            resolved = os.path.realpath(directory or "/", strict=True).rstrip("/") + "/" + name
            rename = base(path) if path.endswith("/") and base(path) != base(resolved) else ""
        status = os.lstat(resolved)
    except OSError as error:
        raise DosirakError(f"lstat {error.filename or path}: {os.strerror(error.errno or 0).lower()}") from error
    return End(resolved, True, stat.S_ISDIR(status.st_mode), rename)


def follow_destination(path: str) -> End:
    """A local destination: symlinks are followed, also one that leads to nothing yet.

    Raises DosirakError when its directory is not there.
    """
    target = path
    for _ in range(11):
        try:
            status = os.lstat(target)
        except FileNotFoundError:
            _check_parent(target)
            return End(target)
        except OSError as error:
            raise DosirakError(f"lstat {target}: {os.strerror(error.errno or 0).lower()}") from error
        if not stat.S_ISLNK(status.st_mode):
            return End(target, True, stat.S_ISDIR(status.st_mode))
        target = posixpath.join(split_entry(target)[0], os.readlink(target))
    raise DosirakError(f"too many symlinks in {path}")


def _check_parent(path: str) -> None:
    parent = split_entry(path)[0]
    try:
        mode = os.stat(parent).st_mode
    except OSError as error:
        raise DosirakError(f"stat {parent}: {os.strerror(error.errno or 0).lower()}") from error
    if not stat.S_ISDIR(mode):
        raise DosirakError("not a directory")


def prepare(source: End, destination: End) -> tuple[str, Callable[[str], str]]:
    """Where the source's archive is to be extracted, and what each of its entries is called there.

    Raises DosirakError where Docker refuses.
    """
    directory, name = split_entry(destination.path)
    if destination.exists and destination.is_directory:
        return destination.path, lambda entry: entry
    if destination.exists and source.is_directory:
        raise DosirakError("cannot copy directory")
    if not destination.exists and not source.is_directory and asks_for_directory(destination.path):
        raise DosirakError("no such directory")
    return directory, rebase(source.rename or split_entry(source.path)[1], name)


def rebase(old: str, new: str) -> Callable[[str], str]:
    """A function that gives an entry's name another first component."""

    def change(name: str) -> str:
        if old == "/":
            return f"{new}/{name.lstrip('/')}"
        rest = name.removeprefix(old)
        return new + rest if rest != name and (not rest or rest.startswith("/")) else name

    return change
