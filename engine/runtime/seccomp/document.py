"""`linux.seccomp` of the runtime-spec (config-linux.md, "Seccomp"), read and checked."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from dosirak.engine.runtime.seccomp import tables

T = TypeVar("T")

# linux/seccomp.h, SECCOMP_RET_*
_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_NOTIFY = "SCMP_ACT_NOTIFY"
_WITH_NUMBER = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_EPERM = 1
# linux/seccomp.h, SECCOMP_FILTER_FLAG_*; TSYNC says nothing to a process with one thread
_WAIT_KILLABLE = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    _WAIT_KILLABLE: 32,
}
_SPEC_ALLOW = 4
NEW_LISTENER = 8
"""The flag with which seccomp(2) gives a descriptor of the filter's questions."""
OPERATORS = frozenset(f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))


class ProfileError(ValueError):
    """A profile that can't be used; the message names the place as a JSON path."""


class Argument(msgspec.Struct, rename="camel", omit_defaults=True):
    """A condition on an argument. For SCMP_CMP_MASKED_EQ `value` is the mask, `value_two` what has to be left."""

    index: int
    value: int
    op: str
    value_two: int = 0


class Rule(msgspec.Struct, rename="camel", omit_defaults=True):
    """What happens to calls of these names, if all `args` hold."""

    names: list[str]
    action: str
    errno_ret: int | None = None
    args: list[Argument] | None = None


class Document(msgspec.Struct, rename="camel", omit_defaults=True):
    """The whole of `linux.seccomp`."""

    default_action: str = ""
    default_errno_ret: int | None = None
    architectures: list[str] | None = None
    flags: list[str] | None = None
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: list[Rule] | None = None


def read(text: bytes) -> Document:
    """A document from its JSON, checked. Raises ProfileError."""
    found = decode(text, Document)
    check(found)
    return found


def decode(text: bytes | str, kind: type[T]) -> T:
    """JSON of a given form. Raises ProfileError."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProfileError(str(error)) from error


def check(document: Document) -> None:
    """Raises ProfileError for what the specification or this engine does not know."""
    action(document.default_action, document.default_errno_ret, "$.defaultAction")
    for place, name in enumerate(document.architectures or ()):
        if name not in tables.KNOWN_ARCHITECTURES:
            raise ProfileError(f'unknown architecture "{name}" - at `$.architectures[{place}]`')
    flags(document)
    if document.default_action == _NOTIFY:
        raise ProfileError("SCMP_ACT_NOTIFY cannot be used as default action - at `$.defaultAction`")
    for place, rule in enumerate(document.syscalls or ()):
        check_rule(rule, f"$.syscalls[{place}]")
    if asks(document) and not document.listener_path:
        raise ProfileError("seccomp listenerPath is not set - at `$.listenerPath`")


def asks(document: Document) -> bool:
    """Whether somebody else is to decide about a call (SCMP_ACT_NOTIFY)."""
    return any(rule.action == _NOTIFY for rule in document.syscalls or ())


def check_rule(rule: Rule, path: str) -> None:
    """Raises ProfileError."""
    if not rule.names:
        raise ProfileError(f"a rule without names - at `{path}.names`")
    action(rule.action, rule.errno_ret, f"{path}.action")
    for place, argument in enumerate(rule.args or ()):
        where = f"{path}.args[{place}]"
        if not 0 <= argument.index < 6:
            raise ProfileError(f"a system call has arguments 0 to 5, not {argument.index} - at `{where}.index`")
        if argument.op not in OPERATORS:
            raise ProfileError(f'unknown operator "{argument.op}" - at `{where}.op`')
        for name, value in (("value", argument.value), ("valueTwo", argument.value_two)):
            if not 0 <= value < 1 << 64:
                raise ProfileError(f"{value} is not a number of 64 bits without sign - at `{where}.{name}`")


def action(name: str, number: int | None, path: str) -> int:
    """An action as a filter returns it (SECCOMP_RET_*). Raises ProfileError."""
    try:
        found = _ACTIONS[name]
    except KeyError:
        raise ProfileError(f'unknown action "{name}" - at `{path}`') from None
    if name not in _WITH_NUMBER:
        return found
    number = _EPERM if number is None else number
    if not 0 <= number < 1 << 15:
        raise ProfileError(f"no such error number: {number} - at `{path}`")
    return found | number


def flags(document: Document) -> int:
    """Flags for seccomp(2); without any in the document SPEC_ALLOW, as runc has it. Raises ProfileError."""
    listener = NEW_LISTENER if asks(document) else 0
    if document.flags is None:
        return _SPEC_ALLOW | listener
    found = 0
    for place, name in enumerate(document.flags):
        if name not in _FLAGS:
            raise ProfileError(f'unknown flag "{name}" - at `$.flags[{place}]`')
        if name != _WAIT_KILLABLE or listener:  # the kernel takes it with a listener alone
            found |= _FLAGS[name]
    return found | listener
