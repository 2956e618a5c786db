"""`manifest inspect`: what a registry has under a name, without pulling it."""

from __future__ import annotations

import base64
import json
from typing import Any

import click

from dosirak.magics.commands.pull import authority, registry_of, split_name
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import DosirakError
from dosirak.magics.grammar.flags import Command, switch
from dosirak.magics.look.text import as_json

_MANIFESTS = {
    "application/vnd.docker.distribution.manifest.v2+json": "SchemaV2Manifest",
    "application/vnd.oci.image.manifest.v1+json": "OCIManifest",
}
"""A manifest's media type: the field in which Docker's `-v` shows it."""


@click.command("inspect", cls=Command, usage="[OPTIONS] MANIFEST", at_least=1, at_most=1)
@switch("-v", "--verbose", help="Output additional info including layers and platform.")
@click.argument("name")
@click.pass_obj
def inspect(session: Session, name: str, verbose: bool) -> Result:
    """Show the manifest, or the list of manifests, that a registry has under a name; the value is a dictionary.

    With -v each manifest comes with its reference, descriptor and platform: a dictionary, or a list of them.
    """
    with session.engine.ours_alone("manifest inspect"):
        answer = _ask(session, name)
    document = json.loads(base64.b64decode(answer["Raw"]))
    if verbose:
        document = _all(session, name, answer["Descriptor"], document, answer["Raw"])
    return Result(document, as_json(document, indent="\t"))


def _ask(session: Session, name: str) -> Any:
    return session.engine.call("GET", f"/dosirak/manifests/{name}", headers=authority(name)).json()


def _all(session: Session, name: str, descriptor: dict[str, Any], document: dict[str, Any], raw: str) -> Any:
    """What `-v` shows: of an index one entry for each of its manifests."""
    repository, tag = split_name(name)
    full = _full(repository)
    if "manifests" not in document:
        said = session.engine.call("GET", f"/distribution/{name}/json", headers=authority(name)).json()
        [platform] = said["Platforms"] or [{}]
        reference = f"{full}@{tag}" if ":" in tag else f"{full}:{tag}"
        return _entry(reference, {**descriptor, "platform": platform}, document, raw)
    tagged = full if ":" in tag else f"{full}:{tag}"
    entries = []
    for one in document["manifests"]:
        answer = _ask(session, f"{repository}@{one['digest']}")
        found = {**answer["Descriptor"], **({"platform": one["platform"]} if "platform" in one else {})}
        inner = json.loads(base64.b64decode(answer["Raw"]))
        entries.append(_entry(f"{tagged}@{one['digest']}", found, inner, answer["Raw"]))
    return entries


def _entry(reference: str, descriptor: dict[str, Any], document: dict[str, Any], raw: str) -> dict[str, Any]:
    field = _MANIFESTS.get(descriptor["mediaType"])
    if field is None:
        raise DosirakError(f"unsupported manifest type: {descriptor['mediaType']}")
    return {"Ref": reference, "Descriptor": descriptor, "Raw": raw, field: document}


def _full(repository: str) -> str:
    """A repository's name with its registry's."""
    if registry_of(repository) != "docker.io":
        return repository
    path = repository.removeprefix("docker.io/")
    return f"docker.io/{path}" if "/" in path else f"docker.io/library/{path}"
