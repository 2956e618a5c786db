"""What this process may do, as root of the host or of a user namespace only: looked for once, told as plain facts.

Nothing else of the engine asks "am I root?": it asks here for the one thing that it wants to know.
"""

from __future__ import annotations

_ALL_IDS = (1 << 32) - 1

NO_SUCH_ID = "not among the ids of this user namespace; give its owner a bigger range in /etc/subuid and /etc/subgid"


class Privilege:
    """The facts.

    `confined`: root of a user namespace only: no device nodes, no way up for limits and OOM scores, overlayfs keeps its
    notes in `user.` attributes. `ids`: how many user ids there are; 1 is the own one alone, as root.
    """

    __slots__ = ("confined", "gids", "uids")

    def __init__(self, uid_map: str, gid_map: str) -> None:
        """Parameters: the text of /proc/self/uid_map and gid_map (user_namespaces(7))."""
        self.uids, self.gids = _ranges(uid_map), _ranges(gid_map)
        self.confined = self.ids < _ALL_IDS

    @property
    def ids(self) -> int:
        """How many user ids there are."""
        return sum(size for _, size in self.uids)

    @property
    def single(self) -> bool:
        """Whether there is one id alone: other owners and groups can't be had."""
        return self.confined and self.ids <= 1

    @property
    def opaque(self) -> str:
        """The extended attribute by which overlayfs notes that a directory hides what is below it."""
        return "user.overlay.opaque" if self.confined else "trusted.overlay.opaque"

    @property
    def last_gid(self) -> int:
        """The highest group there is, as far as the kernel takes it for a range (net.ipv4.ping_group_range)."""
        return min(max(first + size for first, size in self.gids) - 1, (1 << 31) - 1)

    def has(self, uid: int, gid: int) -> bool:
        """Whether a file may belong to these."""
        return not self.confined or (_in(self.uids, uid) and _in(self.gids, gid))


def _ranges(text: str) -> list[tuple[int, int]]:
    rows = (line.split() for line in text.splitlines())
    return [(int(inside), int(size)) for inside, _, size in rows]


def _in(ranges: list[tuple[int, int]], number: int) -> bool:
    return any(first <= number < first + size for first, size in ranges)


class _Here:
    """Of this process, once it has been asked for."""

    found: Privilege | None = None


def here() -> Privilege:
    """This process's. Not to be asked for before it has entered the user namespace in which it stays."""
    if _Here.found is None:
        _Here.found = Privilege(_read("/proc/self/uid_map"), _read("/proc/self/gid_map"))
    return _Here.found


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()
