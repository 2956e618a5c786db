"""The prunes: of containers, images, volumes, networks, the build cache, and all at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import UsageError
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.grammar.listing import filter_map
from dosirak.magics.grammar.values import FILTER, SIZE
from dosirak.magics.look import words
from dosirak.magics.objects.lines import Lines

Filters = dict[str, dict[str, bool]]

_FORCE = switch("-f", "--force", help="Do not ask for confirmation.")
_FILTERS = flag("--filter", "filters", type=FILTER, many=True, help="Filter, until=24h, label=…, label!=….")
_SURE = "Are you sure you want to continue?"


@dataclass(frozen=True)
class Kind:
    """What can be pruned: the request's path, the answer's list, and what is said before and after."""

    path: str
    deleted: str
    title: str


_CONTAINERS = Kind("/containers/prune", "ContainersDeleted", "Deleted Containers:")
_NETWORKS = Kind("/networks/prune", "NetworksDeleted", "Deleted Networks:")
_VOLUMES = Kind("/volumes/prune", "VolumesDeleted", "Deleted Volumes:")
_IMAGES = Kind("/images/prune", "ImagesDeleted", "Deleted Images:")
_CACHE = Kind("/build/prune", "CachesDeleted", "Deleted build cache objects:")


@dataclass(frozen=True)
class _Report:
    """What one prune removed, as lines, and how many bytes it gave back."""

    title: str
    lines: list[str]
    reclaimed: int

    @property
    def text(self) -> str:
        """As docker prints it; empty when nothing went."""
        return "\n".join([self.title, *self.lines, ""]) if self.lines else ""


def _prune(session: Session, kind: Kind, filters: Filters, **query: Any) -> _Report:
    answer = session.engine.post(kind.path, {"filters": filters or None, **query}) or {}
    lines = [_line(entry) for entry in answer.get(kind.deleted) or []]
    return _Report(kind.title, lines, int(answer.get("SpaceReclaimed") or 0))


def _line(entry: str | Mapping[str, str]) -> str:
    if isinstance(entry, str):
        return entry
    return f"untagged: {entry['Untagged']}" if entry.get("Untagged") else f"deleted: {entry.get('Deleted', '')}"


def _agreed(session: Session, force: bool, warning: str) -> bool:
    """Whether to go on: -f, or a person's yes."""
    return force or session.door.ask(f"WARNING! {warning}\n{_SURE} [y/N] ").strip().lower() in ("y", "yes")


def _result(session: Session, *reports: _Report, total: bool = True) -> Result:
    """The value is what went; a terminal has docker's text."""
    parts = [report.text for report in reports if report.text]
    if total:
        parts.append(f"Total reclaimed space: {words.size(sum(report.reclaimed for report in reports))}")
    if session.door.escalates and total:
        session.door.say(parts[-1])
    return Result(Lines([line for report in reports for line in report.lines]), "\n".join(parts) or None)


def _map(filters: tuple[tuple[str, str], ...]) -> Filters:
    return filter_map(filters) or {}


@click.command("prune", cls=Command, usage="[OPTIONS]", at_most=0)
@_FORCE
@_FILTERS
@click.pass_obj
def containers(session: Session, force: bool, filters: tuple[tuple[str, str], ...]) -> Result:
    """Remove all stopped containers; the value is a list of their ids."""
    if not _agreed(session, force, "This will remove all stopped containers."):
        return Result()
    return _result(session, _prune(session, _CONTAINERS, _map(filters)))


@click.command("prune", cls=Command, usage="[OPTIONS]", at_most=0)
@_FORCE
@_FILTERS
@click.pass_obj
def networks(session: Session, force: bool, filters: tuple[tuple[str, str], ...]) -> Result:
    """Remove all unused networks; the value is a list of their names."""
    if not _agreed(session, force, "This will remove all custom networks not used by at least one container."):
        return Result()
    return _result(session, _prune(session, _NETWORKS, _map(filters)), total=False)


@click.command("prune", cls=Command, usage="[OPTIONS]", at_most=0)
@switch("-a", "--all", "all_", help="Remove all unused volumes, not just anonymous ones.")
@_FORCE
@flag("--filter", "filters", type=FILTER, many=True, help="Filter, label=…, label!=….")
@click.pass_obj
def volumes(session: Session, all_: bool, force: bool, filters: tuple[tuple[str, str], ...]) -> Result:
    """Remove unused anonymous volumes, with -a all unused ones; the value is a list of their names."""
    wanted = _map(filters)
    if all_:
        if "all" in wanted:
            raise UsageError("conflicting options: cannot specify both --all and --filter all=1")
        wanted["all"] = {"true": True}
    which = "all" if all_ else "anonymous"
    if not _agreed(session, force, f"This will remove {which} local volumes not used by at least one container."):
        return Result()
    return _result(session, _prune(session, _VOLUMES, wanted))


@click.command("prune", cls=Command, usage="[OPTIONS]", at_most=0)
@switch("-a", "--all", "all_", help="Remove all unused images, not just dangling ones.")
@_FORCE
@_FILTERS
@click.pass_obj
def images(session: Session, all_: bool, force: bool, filters: tuple[tuple[str, str], ...]) -> Result:
    """Remove images without a name, with -a all that no container is made from; the value says what went."""
    which = "images without at least one container associated to them" if all_ else "dangling images"
    if not _agreed(session, force, f"This will remove all {which}."):
        return Result()
    return _result(session, _prune(session, _IMAGES, _image_filters(_map(filters), all_)))


def _image_filters(filters: Filters, all_: bool) -> Filters:
    return {**filters, "dangling": {"false" if all_ else "true": True}}


@click.command("prune", cls=Command, usage="[OPTIONS]", at_most=0)
@switch("-a", "--all", "all_", help="Remove all of it, also what images stand on.")
@_FORCE
@flag("--filter", "filters", type=FILTER, many=True, help="Filter, until=24h, type=…, id=…, description=~….")
@flag("--keep-storage", "--reserved-space", "keep", type=SIZE, default=0, help="How much to keep, the latest.")
@click.pass_obj
def cache(session: Session, all_: bool, force: bool, filters: tuple[tuple[str, str], ...], keep: int) -> Result:
    """Remove the build cache; the value is a list of what went."""
    if not _agreed(session, force, f"This will remove all {'' if all_ else 'dangling '}build cache."):
        return Result()
    wanted = {"all": all_, "keep-storage": keep or None}
    return _result(session, _prune(session, _CACHE, _map(filters), **wanted))


@click.command("prune", cls=Command, usage="[OPTIONS]", at_most=0)
@switch("-a", "--all", "all_", help="Remove all unused images, not just dangling ones.")
@_FORCE
@switch("--volumes", "volumes_", help="Remove unused anonymous volumes as well.")
@_FILTERS
@click.pass_obj
def system(session: Session, all_: bool, force: bool, volumes_: bool, filters: tuple[tuple[str, str], ...]) -> Result:
    """Remove what is unused: containers, networks, images, build cache; the value is a list of what went."""
    wanted = _map(filters)
    if volumes_ and "until" in wanted:
        raise UsageError('ERROR: The "until" filter is not supported with "--volumes"', 1)
    if not _agreed(session, force, _system_warning(all_, volumes_, filters)):
        return Result()
    reports = [_prune(session, _CONTAINERS, wanted), _prune(session, _NETWORKS, wanted)]
    if volumes_:
        reports.append(_prune(session, _VOLUMES, wanted))
    reports.append(_prune(session, _IMAGES, _image_filters(wanted, all_)))
    reports.append(_prune(session, _CACHE, wanted, all=all_))
    return _result(session, *reports)


def _system_warning(all_: bool, volumes_: bool, filters: tuple[tuple[str, str], ...]) -> str:
    things = ["all stopped containers", "all networks not used by at least one container"]
    if volumes_:
        things.append("all anonymous volumes not used by at least one container")
    things.append("all images without at least one container associated to them" if all_ else "all dangling images")
    things.append("all build cache" if all_ else "unused build cache")
    lines = ["This will remove:", *(f"  - {thing}" for thing in things), ""]
    if filters:
        lines += ["  Items to be pruned will be filtered with:"]
        lines += [*(f"  - {name}={value}" for name, value in sorted(filters)), ""]
    return "\n".join(lines)
