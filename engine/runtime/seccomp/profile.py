"""Profiles in Docker's format: `linux.seccomp` with rules that depend on the container, the machine and the kernel.

Docker's documentation "Seccomp security profiles for Docker"; moby/profiles, seccomp/seccomp.go for the fields.
"""

from __future__ import annotations

import os
import re
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path

import msgspec

from dosirak.engine.runtime.seccomp import document, tables
from dosirak.engine.runtime.seccomp.document import Argument, Document, ProfileError, Rule

_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})")


class Condition(msgspec.Struct, rename="camel"):
    """When a rule counts: all `caps` (includes) or any (excludes), one of `arches`, a kernel "4.8" or newer."""

    caps: list[str] | None = None
    arches: list[str] | None = None
    min_kernel: str = ""


class ProfileRule(msgspec.Struct, rename="camel"):
    """A rule with its conditions; `name` is an older form of `names`."""

    action: str
    names: list[str] | None = None
    name: str = ""
    errno_ret: int | None = None
    args: list[Argument] | None = None
    comment: str = ""
    includes: Condition | None = None
    excludes: Condition | None = None


class ArchitectureRule(msgspec.Struct, rename="camel"):
    """An architecture with those whose programs it runs too."""

    architecture: str
    sub_architectures: list[str] | None = None


class Profile(msgspec.Struct, rename="camel"):
    """A whole profile."""

    default_action: str = ""
    default_errno_ret: int | None = None
    architectures: list[str] | None = None
    arch_map: list[ArchitectureRule] | None = None
    flags: list[str] | None = None
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: list[ProfileRule] | None = None

    def conditions(self) -> frozenset[str]:
        """The capabilities that it asks for: containers that agree on these get the same filter."""
        found = [entry for rule in self.syscalls or () for entry in (rule.includes, rule.excludes) if entry]
        return frozenset(name for entry in found for name in entry.caps or ())


@cache
def default() -> Profile:
    """Docker's default profile."""
    return read(Path(__file__).with_name("default.json").read_bytes())


def read(text: bytes | str) -> Profile:
    """A profile from its JSON, checked. Raises ProfileError, which names the place."""
    found = document.decode(text, Profile)
    if found.architectures and found.arch_map:
        raise ProfileError(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or"
            " 'archMap'"
        )
    for place, rule in enumerate(found.syscalls or ()):
        if rule.name and rule.names:
            raise ProfileError(
                "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names' - at"
                f" `$.syscalls[{place}]`"
            )
        document.check_rule(_plain(rule), f"$.syscalls[{place}]")
        for side, condition in (("includes", rule.includes), ("excludes", rule.excludes)):
            _version(condition.min_kernel if condition else "", f"$.syscalls[{place}].{side}.minKernel")
    if found.default_action or found.syscalls:
        document.check(_document(found, [], [_plain(rule) for rule in found.syscalls or ()]))
    return found


def resolve(
    profile: Profile, bounding: AbstractSet[str], *, native: str = tables.NATIVE, release: str = ""
) -> Document | None:
    """`linux.seccomp` of a container; None for a profile that says nothing, which is no filter in Docker.

    Parameters: `bounding`: names of its bounding set; `native`: the machine's architecture; `release`: the kernel's
    (uname -r), this one's if empty.
    """
    if not profile.default_action and not profile.syscalls:
        return None
    kernel = _version(release or os.uname().release, "release", whole=False)

    def counts(rule: ProfileRule) -> bool:
        return (rule.includes is None or _all_hold(rule.includes, bounding, native, kernel)) and (
            rule.excludes is None or not _any_holds(rule.excludes, bounding, native, kernel)
        )

    architectures = list(profile.architectures or ())
    for entry in profile.arch_map or ():
        if entry.architecture == native:
            architectures = [entry.architecture, *(entry.sub_architectures or ())]
    return _document(profile, architectures, [_plain(rule) for rule in profile.syscalls or () if counts(rule)])


def _document(profile: Profile, architectures: list[str], rules: list[Rule]) -> Document:
    return Document(
        default_action=profile.default_action,
        default_errno_ret=profile.default_errno_ret,
        architectures=architectures or profile.architectures,
        flags=profile.flags,
        listener_path=profile.listener_path,
        listener_metadata=profile.listener_metadata,
        syscalls=rules,
    )


def _plain(rule: ProfileRule) -> Rule:
    names = [rule.name] if rule.name else rule.names or []
    return Rule(names=names, action=rule.action, errno_ret=rule.errno_ret, args=rule.args)


def _all_hold(condition: Condition, bounding: AbstractSet[str], native: str, kernel: tuple[int, int]) -> bool:
    return (
        all(name in bounding for name in condition.caps or ())
        and (not condition.arches or tables.GO_NAMES[native] in condition.arches)
        and (not condition.min_kernel or kernel >= _version(condition.min_kernel, ""))
    )


def _any_holds(condition: Condition, bounding: AbstractSet[str], native: str, kernel: tuple[int, int]) -> bool:
    return (
        any(name in bounding for name in condition.caps or ())
        or tables.GO_NAMES[native] in (condition.arches or ())
        or (bool(condition.min_kernel) and kernel >= _version(condition.min_kernel, ""))
    )


def _version(text: str, path: str, *, whole: bool = True) -> tuple[int, int]:
    """ "4.8" as numbers; of "6.18.44-x" the beginning, unless `whole`. Raises ProfileError."""
    if not text:
        return (0, 0)
    match = (_VERSION.fullmatch if whole else _VERSION.match)(text)
    if match is None or (whole and not any(map(int, match.groups()))):
        raise ProfileError(f'invalid kernel version: "{text}", expected "<kernel>.<major>" - at `{path}`')
    return int(match[1]), int(match[2])
