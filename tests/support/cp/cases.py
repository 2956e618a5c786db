"""`docker cp`, case by case, as data: played by the docker CLI against any engine, and what comes of it looked at.

`recorded.json` has what a real dockerd made of them (`record.py`); `test_cp_cases.py` compares ours with that.
"""

from __future__ import annotations

import io
import os
import re
import stat
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Docker = Callable[..., "subprocess.CompletedProcess[Any]"]


@dataclass(frozen=True)
class Case:
    """One command. `cp`: its arguments, "C:" for the container, paths there below /w/<case>; local ones relative.

    `inside`, `local`: shell lines that set up the case's folder in the container, and on this side. `container`: which
    of `CONTAINERS`. `stdin`: a tar of these names and contents.
    """

    name: str
    cp: Sequence[str]
    inside: str = "true"
    local: str = "true"
    container: str = "plain"
    stdin: dict[str, str] | None = None


CONTAINERS: dict[str, Sequence[str]] = {
    "plain": (),
    "user": ("--user", "1000:7"),
    "named-user": ("--user", "user"),
    "read-only": ("--read-only", "--volume", "/w/vol"),
    "ro-volume": ("--volume", "cp-cases:/w/vol:ro"),
}

_TREE = "mkdir -p d/sub; echo one > d/one; echo two > d/sub/two; ln -s one d/link"

IN = (
    Case("file into a directory", ["f", "C:d"], "mkdir d", "echo hi > f"),
    Case("file into a directory with a slash", ["f", "C:d/"], "mkdir d", "echo hi > f"),
    Case("file into a directory by a dot", ["f", "C:d/."], "mkdir d", "echo hi > f"),
    Case("file under a new name", ["f", "C:new"], local="echo hi > f"),
    Case("file where the parent is missing", ["f", "C:no/such"], local="echo hi > f"),
    Case("file to a directory that is missing", ["f", "C:no/"], local="echo hi > f"),
    Case("file over a file", ["f", "C:old"], "echo old > old; chmod 600 old", "echo hi > f; chmod 751 f"),
    Case("file through a symlink to a file", ["f", "C:link"], "echo old > old; ln -s old link", "echo hi > f"),
    Case("file through an absolute symlink", ["f", "C:link"], "mkdir t; ln -s $PWD/t/x link", "echo hi > f"),
    Case("file through a chain of symlinks", ["f", "C:a"], "mkdir t; ln -s b a; ln -s t/c b", "echo hi > f"),
    Case("file through a symlink to a directory", ["f", "C:link"], "mkdir d; ln -s d link", "echo hi > f"),
    Case("file through a symlink in the middle", ["f", "C:link/x"], "mkdir d; ln -s d link", "echo hi > f"),
    Case("file through a symlink that dangles", ["f", "C:link"], "ln -s new link", "echo hi > f"),
    Case("file as a directory's child of a file", ["f", "C:old/x"], "echo old > old", "echo hi > f"),
    Case("file to a file with a slash", ["f", "C:old/"], "echo old > old", "echo hi > f"),
    Case("file over a directory by its parent", ["d/.", "C:"], "mkdir f", "mkdir d; echo hi > d/f"),
    Case("directory over a file by its parent", ["d/.", "C:"], "echo old > f", "mkdir -p d/f; echo hi > d/f/x"),
    Case("directory into a directory", ["d", "C:t"], "mkdir t", _TREE),
    Case("directory with a slash into a directory", ["d/", "C:t"], "mkdir t", _TREE),
    Case("directory's content into a directory", ["d/.", "C:t"], "mkdir t; echo old > t/one", _TREE),
    Case("directory under a new name", ["d", "C:new"], local=_TREE),
    Case("directory's content under a new name", ["d/.", "C:new"], local=_TREE),
    Case("directory over a file", ["d", "C:f"], "echo old > f", _TREE),
    Case("directory where the parent is missing", ["d", "C:no/such"], local=_TREE),
    Case("directory onto one of its name", ["d", "C:"], "mkdir -p d/old; chmod 700 d; touch d/old/x", _TREE),
    Case("directory over a symlink of its name", ["d", "C:"], "mkdir t; ln -s t d", _TREE),
    Case("symlink as a link", ["l", "C:new"], local="echo hi > f; ln -s f l"),
    Case("symlink followed", ["-L", "l", "C:new"], local="echo hi > f; ln -s f l"),
    Case("symlink followed into a directory", ["-L", "l", "C:t"], "mkdir t", "echo hi > f; ln -s f l"),
    Case("symlink to a directory with a slash", ["l/", "C:t"], "mkdir t", _TREE + "; ln -s d l"),
    Case("symlink to a directory by a dot", ["l/.", "C:t"], "mkdir t", _TREE + "; ln -s d l"),
    Case("symlink that dangles", ["l", "C:new"], local="ln -s nowhere l"),
    Case("missing source", ["no", "C:new"]),
    Case("owner of the file", ["f", "C:new"], local="echo hi > f; chown 1234:4321 f"),
    Case("owner in a container with a user", ["f", "C:new"], local="echo hi > f; chown 12:13 f", container="user"),
    Case("archive mode", ["-a", "f", "C:new"], local="echo hi > f; chown 1234:4321 f"),
    Case("archive mode with a user", ["-a", "d", "C:new"], local=_TREE, container="user"),
    Case("archive mode with a user's name", ["-a", "d", "C:new"], local=_TREE, container="named-user"),
    Case("modes", ["d", "C:new"], local="mkdir d; touch d/x d/y d/z; chmod 4755 d/x; chmod 2000 d/y; chmod 1777 d"),
    Case("hard links", ["d", "C:new"], local="mkdir d; echo hi > d/a; ln d/a d/b; ln d/a d/c"),
    Case("named pipe", ["p", "C:new"], local="mkfifo p"),
    Case("device", ["n", "C:new"], local="mknod n c 1 3"),
    Case("empty directory", ["d", "C:new"], local="mkdir -m 711 d"),
    Case("name with a colon", ["./a:b", "C:new"], local="echo hi > a:b"),
    Case("long name", ["f", "C:" + "x" * 200], local="echo hi > f"),
    Case("name that is no ASCII", ["f", "C:한글"], local="echo hi > f"),
    Case("tar from stdin", ["-", "C:d"], "mkdir d", stdin={"x": "1", "y/z": "2"}),
    Case("tar from stdin to a file", ["-", "C:f"], "echo old > f", stdin={"x": "1"}),
    Case("tar from stdin to nowhere", ["-", "C:no"], stdin={"x": "1"}),
    Case("tar that climbs", ["-", "C:d"], "mkdir d", stdin={"../x": "1"}),
    Case("tar with absolute names", ["-", "C:d"], "mkdir d", stdin={"/x": "1", "/y/../z": "2"}),
    Case("tar over a directory", ["-", "C:d"], "mkdir -p d/x", stdin={"x": "1"}),
    Case("read-only root", ["f", "C:new"], local="echo hi > f", container="read-only"),
    Case("volume in a read-only root", ["f", "C:/w/vol/new"], local="echo hi > f", container="read-only"),
    Case("read-only volume", ["f", "C:/w/vol/new"], local="echo hi > f", container="ro-volume"),
    Case("beside a read-only volume", ["f", "C:new"], local="echo hi > f", container="ro-volume"),
)

OUT = (
    Case("out: file into a directory", ["C:f", "d"], "echo hi > f; chmod 751 f", "mkdir d"),
    Case("out: file under a new name", ["C:f", "new"], "echo hi > f"),
    Case("out: file where the parent is missing", ["C:f", "no/such"], "echo hi > f"),
    Case("out: file to a directory that is missing", ["C:f", "no/"], "echo hi > f"),
    Case("out: file over a file", ["C:f", "old"], "echo hi > f", "echo old > old; chmod 600 old"),
    Case("out: file through a symlink", ["C:f", "l"], "echo hi > f", "echo old > old; ln -s old l"),
    Case("out: file to a file with a slash", ["C:f", "old/"], "echo hi > f", "echo old > old"),
    Case("out: directory into a directory", ["C:d", "t"], _TREE, "mkdir t"),
    Case("out: directory's content", ["C:d/.", "t"], _TREE, "mkdir t; echo old > t/one"),
    Case("out: directory with a slash", ["C:d/", "t"], _TREE, "mkdir t"),
    Case("out: directory under a new name", ["C:d", "new"], _TREE),
    Case("out: directory's content under a new name", ["C:d/.", "new"], _TREE),
    Case("out: directory over a file", ["C:d", "f"], _TREE, "echo old > f"),
    Case("out: directory over a file by its parent", ["C:d/.", "t"], _TREE, "mkdir t; touch t/sub"),
    Case("out: symlink as a link", ["C:l", "new"], "echo hi > f; ln -s f l"),
    Case("out: symlink followed", ["-L", "C:l", "new"], "echo hi > f; ln -s f l"),
    Case("out: symlink followed into a directory", ["-L", "C:l", "t"], "echo hi > f; ln -s f l", "mkdir t"),
    Case("out: symlink followed far", ["-L", "C:a", "t"], "mkdir x; echo hi > x/f; ln -s b a; ln -s x/f b", "mkdir t"),
    Case("out: symlink to a directory with a slash", ["C:l/", "t"], _TREE + "; ln -s d l", "mkdir t"),
    Case("out: symlink to a directory by a dot", ["C:l/.", "t"], _TREE + "; ln -s d l", "mkdir t"),
    Case("out: symlink to a directory followed", ["-L", "C:l", "t"], _TREE + "; ln -s d l", "mkdir t"),
    Case("out: through a symlink in the middle", ["C:l/one", "new"], _TREE + "; ln -s d l"),
    Case("out: symlink that dangles, followed", ["-L", "C:l", "new"], "ln -s nowhere l"),
    Case("out: missing", ["C:no", "new"]),
    Case("out: file with a slash", ["C:f/", "new"], "echo hi > f"),
    Case("out: hard links", ["C:d", "new"], "mkdir d; echo hi > d/a; ln d/a d/b"),
    Case("out: named pipe", ["C:p", "new"], "mkfifo p"),
    Case("out: sticky directory", ["C:d", "new"], "mkdir -m 1777 d; touch d/x; chmod 4755 d/x"),
    Case("out: dots in the path", ["C:d/../d/./one", "new"], _TREE),
    Case("out: as a tar", ["C:d", "-"], _TREE),
    Case("out: as a tar, content", ["C:d/.", "-"], _TREE),
    Case("out: as a tar, a file", ["C:d/one", "-"], _TREE),
    Case("out: as a tar, a symlink", ["C:d/link", "-"], _TREE),
    Case("out: as a tar, owner", ["C:d", "-"], "mkdir d; echo hi > d/x; chown 5:6 d/x; mknod d/n c 1 3"),
    Case("between containers", ["C:f", "C:g"], "echo hi > f"),
    Case("without a container", ["f", "g"], local="echo hi > f"),
)

CASES = (*IN, *OUT)


def play(docker: Docker, image: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Play all cases; what came of each, by its name.

    Parameters: `docker(*arguments, stdin=bytes, check=False, text=False, cwd=path)` runs the CLI.
    """
    places = {case.name: f"case{number}" for number, case in enumerate(CASES)}
    names = {kind: f"cp-{kind}" for kind in CONTAINERS}
    try:
        for kind, options in CONTAINERS.items():
            _start(docker, image, kind, names[kind], options, places)
        found: dict[str, dict[str, Any]] = {}
        for case in CASES:
            found[case.name] = _one(docker, case, names[case.container], places[case.name], folder)
        for kind, name in names.items():
            trees = _inside(docker, name)
            for case in CASES:
                if case.container == kind:
                    found[case.name]["inside"] = trees.get(places[case.name], [])
        return found
    finally:
        docker("rm", "-f", "-v", *names.values(), check=False, text=False)
        docker("volume", "rm", "-f", "cp-cases", check=False, text=False)


def _start(docker: Docker, image: str, kind: str, name: str, options: Sequence[str], places: dict[str, str]) -> None:
    """A container whose cases are set up; a read-only root by way of an image."""
    script = "mkdir -p /w/vol; umask 022; cd /w; " + "; ".join(
        f"mkdir -p /w/{places[case.name]}; cd /w/{places[case.name]}; {case.inside}"
        for case in CASES
        if case.container == kind
    )
    base = image
    if kind in ("read-only", "ro-volume"):
        docker("run", "--name", f"{name}-base", image, "sh", "-c", script, text=False)
        docker("commit", f"{name}-base", f"{name}-base", text=False)
        docker("rm", f"{name}-base", text=False)
        base = f"{name}-base"
    docker("run", "-d", "--name", name, *options, base, "sleep", "600", text=False)
    if base == image:
        docker("exec", "--user", "0", name, "sh", "-c", script, text=False)


def _one(docker: Docker, case: Case, name: str, place: str, folder: Path) -> dict[str, Any]:
    here = folder / place
    here.mkdir()
    subprocess.run(["sh", "-c", f"umask 022; {case.local}"], cwd=here, check=True)
    there = f"{name}:/w/{place}/"
    arguments = [re.sub("^C:/", f"{name}:/", word).replace("C:", there, 1) for word in case.cp]
    data = _tar(case.stdin) if case.stdin is not None else None
    done = docker("cp", *arguments, stdin=data, check=False, text=False, cwd=here)
    error = done.stderr.decode().replace(str(here), "HERE").replace(f"/w/{place}", "THERE").replace(name, "NAME")
    # What the client logs about the pipe that it closes itself depends on who is faster.
    error = re.sub(r"(?m)^time=.* level=.*\n?", "", error)
    shown = _entries(done.stdout) if done.stdout else []
    return {"code": done.returncode, "error": error.strip(), "tar": shown, "local": _local(here)}


def _tar(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


def _entries(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return sorted(_entry(archive, info) for info in archive)


def _entry(archive: tarfile.TarFile, info: tarfile.TarInfo) -> str:
    content = ""
    if info.isreg():
        file = archive.extractfile(info)
        content = repr(file.read()) if file else ""
    kind = {tarfile.LNKTYPE: "hard", tarfile.SYMTYPE: "link", tarfile.DIRTYPE: "dir", tarfile.REGTYPE: "file"}
    what = kind.get(info.type, info.type.decode())
    return f"{info.name} {what} {info.mode & 0o7777:o} {info.uid}:{info.gid} {info.linkname}{content}"


def _inside(docker: Docker, name: str) -> dict[str, list[str]]:
    """The cases' folders in the container, by the folder's name."""
    found: dict[str, list[str]] = {}
    data = docker("cp", f"{name}:/w/.", "-", text=False).stdout
    for entry in _entries(data):
        parts = entry.removeprefix("./").split("/", 1)
        if len(parts) > 1:
            found.setdefault(parts[0], []).append(parts[1])
    return found


def _local(folder: Path) -> list[str]:
    found = []
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        what = stat.filemode(status.st_mode)[0]
        content = os.readlink(path) if path.is_symlink() else repr(path.read_bytes()) if path.is_file() else ""
        shown = "" if path.is_symlink() else f"{mode:o}"
        found.append(f"{path.relative_to(folder)} {what} {shown} {status.st_nlink if path.is_file() else ''} {content}")
    return found
