"""Who a process is: Docker's USER grammar resolved by the container's own passwd and group files.

Both files are hostile. They are read as bytes with a size limit, through the root's descriptor, regular files only;
a line with a field out of range is no line at all (never wrapped round to 0); a number is a number, never a name.
"""

from __future__ import annotations

import errno

from dosirak.engine.runtime import inroot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_ID = (1 << 31) - 1
_LIMIT = 4 << 20


class UnknownUser(Exception):
    """A user or group that the container's files do not have, or that is out of range."""


def resolve(root_fd: int, spec: str, extra: Iterable[str] = ()) -> tuple[int, int, list[int], bytes]:
    """Resolve "user[:group]" (names or numbers) and further groups, as Docker does.

    Parameters: `root_fd`: the container's root; `spec`: as USER or --user has it; `extra`: --group-add.
    Returns uid, gid, supplementary gids (the primary one first, CVE-2022-36109) and the home directory.
    Raises UnknownUser in Docker's words.
    """
    user, _, group = spec.partition(":")
    uid, gid, home, name = _user(user or "0", _passwd(root_fd))
    groups: list[int] = []
    if group:
        gid = _group(root_fd, group)
    else:
        groups = [number for _, number, members in _groups(root_fd) if _is_member(name, members)]
    groups += [_group(root_fd, wanted) for wanted in extra]
    return uid, gid, list(dict.fromkeys([gid, *groups])), home


def home_of(root_fd: int, uid: int) -> bytes:
    """The home directory of a numeric user; "/" when passwd does not say."""
    return next((home for _, number, _, home in _passwd(root_fd) if number == uid), b"/")


def _user(user: str, passwd: Iterable[tuple[bytes, int, int, bytes]]) -> tuple[int, int, bytes, bytes]:
    number = _number(user, "user")
    wanted = user.encode()
    for name, uid, gid, home in passwd:
        if uid == number if number is not None else name == wanted:
            return uid, gid, home, name
    if number is None:
        raise UnknownUser(f"unable to find user {user}: no matching entries in passwd file")
    return number, 0, b"/", b""


def _is_member(name: bytes, members: bytes) -> bool:
    """Without splitting the list: half a million members would cost 30 MB of the container's own memory."""
    return bool(name) and b"," not in name and b"," + name + b"," in b"," + members + b","


def _group(root_fd: int, group: str) -> int:
    number = _number(group, "group")
    if number is not None:
        return number
    for name, gid, _ in _groups(root_fd):
        if name == group.encode():
            return gid
    raise UnknownUser(f"unable to find group {group}: no matching entries in group file")


def _number(text: str, kind: str) -> int | None:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        return None
    if text.startswith("-") or len(digits) > 10 or int(digits) > MAX_ID:
        raise UnknownUser(f"{kind} {text}: uids and gids must be in range 0-{MAX_ID}")
    return int(digits)


def _passwd(root_fd: int) -> Iterator[tuple[bytes, int, int, bytes]]:
    for fields in _lines(root_fd, "/etc/passwd", 7):
        uid, gid = _id(fields[2]), _id(fields[3])
        if uid is not None and gid is not None:
            yield fields[0], uid, gid, fields[5] or b"/"


def _groups(root_fd: int) -> Iterator[tuple[bytes, int, bytes]]:
    for fields in _lines(root_fd, "/etc/group", 4):
        gid = _id(fields[2])
        if gid is not None:
            yield fields[0], gid, fields[3].strip()


def _id(field: bytes) -> int | None:
    if not field.isdigit() or len(field) > 10 or int(field) > MAX_ID:
        return None
    return int(field)


def _lines(root_fd: int, path: str, width: int) -> Iterator[list[bytes]]:
    try:
        content = inroot.read_file(root_fd, path, _LIMIT)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return
        raise UnknownUser(f"unable to read {path} of the container: {error.strerror}") from error
    for line in content.split(b"\n"):
        fields = line.strip().split(b":", width)
        if fields[0] and not fields[0].startswith(b"#") and len(fields) >= 3:
            yield fields + [b""] * (width - len(fields))
