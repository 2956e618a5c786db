"""Where registries are configured: `dosirak.toml`, and what Podman's and Docker's machines already have.

`dosirak.toml`, in the engine's data directory or where settings are looked for:

    [registries]
    insecure = ["registry.local:5000", "10.0.0.0/8"]     # plain HTTP or an unknown certificate is fine there

    [registries.mirrors]
    "docker.io" = ["http://127.0.0.1:5000"]              # asked first, without credentials; pulls only

    [registries.locations]
    "docker.io" = "127.0.0.1:5000"                       # asked instead: for a classroom without the Internet

`/etc/containers/registries.conf` and `registries.conf.d/*.conf` (containers-registries.conf(5), version 2) say the
same for whoever is not named above: `[[registry]]` with prefix, location, insecure, blocked, mirrors. Short names are
always Docker's Hub's, so `unqualified-search-registries` says nothing here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from dosirak.engine import settings
from dosirak.engine.errors import InvalidRequest

_FILE = Path("/etc/containers/registries.conf")
_FILE_VARIABLE = "CONTAINERS_REGISTRIES_CONF"
"""Names another file, as for Podman; the drop-ins are then left out."""

Table = TypeVar("Table")


class Mirror(msgspec.Struct, frozen=True):
    """Another place for a rule's images, asked first; `wanted` says for which."""

    location: str
    insecure: bool = False
    wanted: Literal["all", "digest-only", "tag-only"] = msgspec.field(default="all", name="pull-from-mirror")


class Rule(msgspec.Struct, frozen=True):
    """A `[[registry]]` of registries.conf: what is said of the images whose names begin with `prefix`.

    `location` stands in the prefix's place when they are asked for. `source` is the file.
    """

    prefix: str = ""
    location: str = ""
    insecure: bool = False
    blocked: bool = False
    by_digest_only: bool = msgspec.field(default=False, name="mirror-by-digest-only")
    mirror: list[Mirror] = msgspec.field(default_factory=list)
    source: str = ""


class _File(msgspec.Struct, frozen=True):
    registry: list[Rule] = msgspec.field(default_factory=list)


class Registries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[registries]` of `dosirak.toml`; and the `rules` of registries.conf."""

    insecure: list[str] = msgspec.field(default_factory=list)
    mirrors: dict[str, list[str]] = msgspec.field(default_factory=dict)
    locations: dict[str, str] = msgspec.field(default_factory=dict)
    rules: tuple[Rule, ...] = ()


def read(data: Path) -> Registries:
    """What is configured for the engine with this data directory. Blocking. Raises InvalidRequest."""
    table: Any = settings.read_file(data / "dosirak.toml").get("registries") or settings.config_file().get("registries")
    own = _convert(table or {}, Registries, "dosirak.toml: registries")
    rules = [rule for path in _files() for rule in read_rules(path)]
    return msgspec.structs.replace(own, rules=tuple(rules)) if rules else own


def _files() -> list[Path]:
    if named := os.environ.get(_FILE_VARIABLE):
        return [Path(named)]
    # A later file replaces what an earlier one says of the same prefix; the first found wins where rules are chosen.
    return [*sorted(_FILE.with_suffix(".conf.d").glob("*.conf"), reverse=True), _FILE]


def read_rules(path: Path) -> list[Rule]:
    """The rules of one registries.conf; none where it can't be read. Blocking. Raises InvalidRequest."""
    rules = _convert(settings.read_file(path), _File, str(path)).registry
    for rule in rules:
        if not (rule.prefix or rule.location):
            raise InvalidRequest(f"{path}: invalid condition: both location and prefix are empty")
    return [msgspec.structs.replace(rule, prefix=rule.prefix or rule.location, source=str(path)) for rule in rules]


def _convert(table: Any, kind: type[Table], what: str) -> Table:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{what}: {error}") from error
