"""An image as its archive tells: config and files, layers laid over one another. Shares no code with the engine."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

Files = dict[str, tuple[Any, ...]]


def read(path: Path) -> tuple[dict[str, Any], Files]:
    """Config and files of the one image in a `docker save` archive."""
    with tarfile.open(path) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))[0]
        config = json.load(archive.extractfile(manifest["Config"]))
        files: Files = {}
        for layer in manifest["Layers"]:
            member = archive.getmember(layer)
            while member.issym():  # Docker's classic archives name a layer that comes twice by a link
                member = archive.getmember(str(Path(member.name).parent.joinpath(member.linkname)).replace("/..", ""))
            with tarfile.open(fileobj=archive.extractfile(member)) as tree:
                _lay(files, tree)
    return said(config), {path: what for path, what in files.items() if not _is_stub(path, what)}


def _lay(files: Files, tree: tarfile.TarFile) -> None:
    made: Files = {}
    for member in tree:
        path = member.name.removeprefix("./").strip("/")
        parent, _, name = path.rpartition("/")
        if name == ".wh..wh..opq":
            _remove(files, parent, itself=False)
        elif name.startswith(".wh."):
            _remove(files, f"{parent}/{name[4:]}".strip("/"), itself=True)
        elif path not in ("", "."):
            made[path] = _entry(tree, member, made, files)
    for path, what in made.items():
        if what[0] != "directory":
            _remove(files, path, itself=True)
        files[path] = what


def _remove(files: Files, path: str, *, itself: bool) -> None:
    for name in [name for name in files if name.startswith(f"{path}/") or (itself and name == path)]:
        del files[name]


def _entry(tree: tarfile.TarFile, member: tarfile.TarInfo, made: Files, files: Files) -> tuple[Any, ...]:
    if member.islnk():
        target = member.linkname.removeprefix("./").strip("/")
        return made.get(target) or files[target]
    attributes = tuple(
        sorted((key, value) for key, value in member.pax_headers.items() if key.startswith("SCHILY.xattr."))
    )
    common = (oct(member.mode & 0o7777), member.uid, member.gid, attributes)
    if member.isdir():
        return ("directory", *common)
    if member.issym():
        return ("link", member.uid, member.gid, member.linkname)
    if member.isreg():
        return ("file", *common, hashlib.sha256(tree.extractfile(member).read()).hexdigest()[:12], member.size)
    return (member.type.decode(), *common, member.devmajor, member.devminor)


_STUBS = {
    "dev",
    "proc",
    "sys",
    "etc/resolv.conf",
    "etc/hosts",
    "etc/hostname",
    "run",
    "run/.containerenv",
    "run/secrets",
}


def _is_stub(path: str, what: tuple[Any, ...]) -> bool:
    """What a builder leaves behind of the mounts of its steps; each leaves something else."""
    empty = what[0] == "directory" or what[-1] == 0
    return path in _STUBS and empty


def said(config: dict[str, Any]) -> dict[str, Any]:
    """What the config says to who runs the image: empty is as good as absent."""
    run = config.get("config") or {}
    keys = ("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal")
    found = {key: run.get(key) or None for key in (*keys, "Healthcheck", "OnBuild", "Shell")}
    labels = {k: v for k, v in (found["Labels"] or {}).items() if k != "io.buildah.version"}
    found["Labels"] = labels or None
    found["Env"] = sorted(found["Env"] or [])
    return found | {"author": config.get("author") or None, "os": config["os"], "architecture": config["architecture"]}
