"""`--chown` and WORKDIR's owner: "user[:group]" by the target's own passwd and group files."""

from __future__ import annotations

from dosirak.engine.errors import InvalidRequest
from dosirak.engine.runtime import users


def resolve_owner(root: int, spec: str) -> tuple[int, int]:
    """uid and gid for files.

    A name without a group has its passwd's group, a number without one has the same number, as in BuildKit.
    Raises InvalidRequest when the files at the root descriptor `root` do not know a name.
    """
    user, _, group = spec.partition(":")
    if ":" in group or not (user or group):
        raise InvalidRequest(f"invalid chown string format: {spec}")
    if not group and user.isascii() and user.isdigit():
        group = user
    try:
        uid, gid, _, _ = users.resolve(root, f"{user}:{group}" if group else user)
    except users.UnknownUser as error:
        raise InvalidRequest(str(error)) from error
    return uid, gid
