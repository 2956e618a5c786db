"""Dockerfiles and contexts that were made to harm whoever builds them."""

from __future__ import annotations

import pytest

from support import tars
from support.engines import Engine

from .conftest import Marker
from .test_names import ask

# {marker}: a file of the host; {folder}: where it lies; {up}: from anywhere to the root; {image}: busybox.
REFUSED = {
    "a file of the host": "ADD {marker} /x",
    "a file above the context": "COPY {up}{marker} /x",
    "a file by its URL": "ADD file://{marker} /x",
    "a repository that is an option": "ADD git://x/--upload-pack=id /x",
    "a here-document of that name": "COPY <<{up}{folder}/owned /x\nhi\n{up}{folder}/owned\n",
    "a link of the context": "COPY link /x",
    "a directory through a link of the context": "COPY out/ /x",
    "a mount of the host's file": "RUN --mount=type=bind,source={marker},target=/x cat /x",
    "a mount through a link of the context": "RUN --mount=type=bind,source=link,target=/x cat /x",
    "a mount over the kernel's": "RUN --mount=type=cache,target=/proc/sys id",
    "a tmpfs over the kernel's": "RUN --mount=type=tmpfs,target=/proc id",
    "privileges of its own": "RUN --security=insecure id",
    "a stage's link to the host": "RUN ln -s {marker} /l\nFROM {image}\nCOPY --from=0 /l /x",
    "a secret of the host's": "RUN --mount=type=secret,id={up}{marker},required cat /run/secrets/*",
}
HARMLESS = {
    "a stage's link to its own": "RUN echo hi > /h; ln -s /h /l\nFROM {image}\nCOPY --from=0 /l /x",
    "a cache of the host's name": "RUN --mount=type=cache,id={up}{folder},target=/x touch /x/owned; ls /x",
    "a target above the root": "COPY <<EOF {up}{folder}/owned\nhi\nEOF\n",
    "a place that a link leads out of": "RUN ln -s {folder} /d\nCOPY <<EOF /d/owned\nhi\nEOF\n",
    "a directory of the engine's": "WORKDIR /proc/self/fd/3\nCOPY <<EOF owned\nhi\nEOF\n",
    "an interpreter's variables": "ENV LD_PRELOAD=/x PYTHONHOME=/x\nCOPY <<EOF /x\nhi\nEOF\n",
    "a cleared place that is a link now": "RUN rm -rf /tmp && ln -s {folder} /tmp\nRUN rm -rf /tmp/*; rm /tmp",
    "a frontend of somebody else's": "LABEL a=b",
}


def context(file: str, marker: Marker) -> bytes:
    links = {"link": marker.path, "out": marker.folder}
    members = [tars.member(name, "symlink", str(target)) for name, target in links.items()]
    return tars.tar([*members, tars.member("Dockerfile", "file", file)])


def build(engine: Engine, busybox: str, marker: Marker, lines: str) -> tuple[int, bytes]:
    names = {"marker": str(marker.path), "folder": str(marker.folder), "up": "../" * 12, "image": busybox}
    file = f"# syntax=evil.example/frontend:1\nFROM {busybox}\n{lines.format(**names)}\n"
    done = engine.docker("build", "-t", "harmful", "-", stdin=context(file, marker), check=False, text=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_reach_the_host_is_refused(engine: Engine, busybox: str, marker: Marker, kind: str) -> None:
    code, said = build(engine, busybox, marker, REFUSED[kind])
    assert code != 0, said
    assert marker.secret.encode() not in said
    assert b"internal error" not in said
    assert ask(engine, "GET", "/_ping")[0] == 200


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_only_looks_so_stays_inside(engine: Engine, busybox: str, marker: Marker, kind: str) -> None:
    # The controls, too: such files are built. The marker's folder is looked at when the test ends.
    code, said = build(engine, busybox, marker, HARMLESS[kind])
    assert code == 0, said
    assert marker.secret.encode() not in said
    engine.docker("rmi", "-f", "harmful")
