"""Dockerfiles that every builder here is given, and the context they all see.

What only some builders can do says so: a case's `only` names them, "legacy" (Docker's classic builder) and "buildah".
"""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """`text` stands on `base`; `flags` are the builder's."""

    name: str
    text: str
    flags: tuple[str, ...] = ()
    only: tuple[str, ...] = ("legacy", "buildah")


def _case(name: str, text: str, *flags: str, only: tuple[str, ...] = ("legacy", "buildah")) -> Case:
    return Case(name, text, flags, only)


NEWER = ("buildah",)
"""What Docker's classic builder has not learnt."""

CASES = [
    _case("nothing", ""),
    _case("run writes, changes and removes", "RUN echo a > /a; chmod 0750 /home; rm /etc/hostname; mkdir -p /x/y/z"),
    _case("run twice over the same file", "RUN echo a > /a\nRUN echo b >> /a; chown 7:8 /a"),
    _case("run replaces a directory by a file", "RUN mkdir -p /d/e && echo x > /d/e/f\nRUN rm -r /d && echo y > /d"),
    _case("run replaces a file by a directory", "RUN echo x > /d\nRUN rm /d && mkdir /d && echo y > /d/e"),
    _case("run empties and refills a directory", "RUN mkdir /d; touch /d/1 /d/2\nRUN rm -r /d; mkdir /d; touch /d/3"),
    _case("run makes links, pipes and odd modes", "RUN ln -s /a /l; mkfifo /p; echo > /h; ln /h /h2; chmod 6755 /h"),
    _case(
        "run in a directory as a user", "RUN mkdir /w && chown 1000 /w\nWORKDIR /w\nUSER user\nRUN touch mine; id > id"
    ),
    _case("run with an array and no shell", 'RUN ["/bin/touch", "/$HOME", "/a b"]'),
    _case("a shell of one's own", 'SHELL ["/bin/sh", "-ec"]\nRUN echo "$0" > /s\nCMD echo hi'),
    _case(
        "environment in every place",
        "ENV A=1 B=two C='a b'\nENV D=$A$B E=${F:-none} A=3\nRUN env | grep ^[A-E]= | sort > /e",
    ),
    _case("old forms", 'MAINTAINER somebody\nENV KEY the rest of the line\nLABEL "purpose"="practice"'),
    _case("labels", 'LABEL a=1 b="two words" c=\\\nthree\nLABEL a=4 multi="line\\\nend"'),
    _case("arguments", "ARG A=1\nARG B\nARG C=$A\nRUN echo $A-$B-$C > /a\nENV D=$B", "--build-arg", "B=given"),
    _case("ports, volumes, signals", 'EXPOSE 80 443/tcp 53/udp\nVOLUME /data ["/x"]\nVOLUME ["/y"]\nSTOPSIGNAL SIGINT'),
    _case("port ranges", "EXPOSE 8000-8003 9000/udp"),
    _case("command and entrypoint", 'ENTRYPOINT ["echo"]\nCMD ["a", "b"]'),
    _case("entrypoint after command", 'CMD ["a"]\nENTRYPOINT echo $HOME'),
    _case(
        "healthcheck", "HEALTHCHECK --interval=5s --timeout=3s --retries=2 --start-period=1s CMD wget -q x || exit 1"
    ),
    _case("no healthcheck", "HEALTHCHECK NONE"),
    _case("onbuild is kept", "ONBUILD RUN echo later\nONBUILD COPY file /f"),
    _case("work directories", "WORKDIR /a\nWORKDIR b/../c\nENV D=/d\nWORKDIR $D/e\nRUN pwd > where"),
    _case("work directory that is there", "WORKDIR /tmp\nRUN stat -c %a . > mode"),
    _case("user and group", "USER 1000:29\nRUN id -u > /tmp/u; id -g >> /tmp/u"),
    _case("copy a file", "COPY file /"),
    _case("copy a file to another name", "COPY file /new/name"),
    _case("copy into a directory", "COPY file script /d/"),
    _case("copy a directory's contents", "COPY tree /t"),
    _case(
        "copy a directory into one that is there",
        "RUN mkdir -p /t/sub; echo old > /t/sub/one; echo kept > /t/kept\nCOPY tree /t",
    ),
    _case("copy everything", "COPY . /all"),
    _case("copy by pattern", "COPY tree/*.txt fil? /p/"),
    _case("copy relative to the work directory", "WORKDIR /w\nCOPY file ."),
    _case("copy array form with spaces", 'COPY ["with space", "/s p/"]'),
    _case("copy keeps links as they are", "COPY links /l"),
    _case("copy over a link to a directory", "RUN mkdir /real && ln -s /real /link\nCOPY file /link/"),
    _case("copy with an owner's number", "COPY --chown=7:8 tree /t"),
    _case("copy with an owner's name", "COPY --chown=user:audio file /f"),
    _case("copy makes directories for root", "COPY --chown=1000 file /a/b/c"),
    _case("copy with a mode", "COPY --chmod=0700 file /f", only=NEWER),
    _case("copy keeps modes", "COPY script modes /m/"),
    _case("add unpacks archives", "ADD archive.tar /a\nADD archive.tgz /b/"),
    _case("add copies what is no archive", "ADD file tree /d/"),
    _case("copy does not unpack", "COPY archive.tgz /a/"),
    _case(
        "stages",
        "RUN echo one > /one\nFROM {base} AS two\nRUN echo two > /two\n"
        "FROM {base}\nCOPY --from=0 /one /1\nCOPY --from=two /two /2",
    ),
    _case("a stage on a stage", "ENV A=1\nRUN echo a > /a\nFROM stage AS next\nENV B=$A\nRUN cat /a > /b"),
    _case("target", "RUN echo a > /a\nFROM stage AS mid\nRUN echo m > /m\nFROM mid\nRUN exit 1", "--target", "mid"),
    _case(
        "copy between stages keeps owners",
        "RUN mkdir /o && touch /o/f && chown -R 7:8 /o && chmod 711 /o\nFROM {base}\nCOPY --from=0 /o /o",
    ),
    _case("from nothing", "FROM scratch\nCOPY file tree /d/\nENV A=1"),
    _case("arguments before from", 'FROM {base}\nARG V\nRUN echo "<$V>" > /v', only=("legacy", "buildah")),
    _case("escapes and comments", '# a comment\nRUN echo a \\\n  # inside\n  b > /a\n\nENV X=\\$Y Z="q\\"q"'),
    _case("expansion", "ENV A=abc\nENV B=${A:+yes} C=${N:-no} D=${A}x E='$A'"),
    _case("ignored files", "COPY . /c", only=("legacy", "buildah")),
    _case("heredocs", "RUN <<END\necho one > /one\necho two > /two\nEND\nCOPY <<END /h\ntext $HOME\nEND", only=()),
]


def context(folder: Path) -> Path:
    """Files of every kind, the same each time."""
    folder.mkdir()
    _write(folder, "file", "file\n", 0o644)
    _write(folder, "script", "#!/bin/sh\n", 0o755)
    _write(folder, "with space", "spaces\n", 0o600)
    _write(folder, "modes/all", "a", 0o777)
    _write(folder, "modes/none", "n", 0o400)
    for name in ("one", "two.txt", "three.txt", "sub/one", "sub/deep/four"):
        _write(folder, f"tree/{name}", f"{name}\n", 0o640)
    (folder / "tree/sub").chmod(0o711)
    (folder / "tree/empty").mkdir(mode=0o700)
    (folder / "links").mkdir()
    for name, target in {"file": "../file", "none": "nowhere", "absolute": "/etc/passwd", "dir": "../tree"}.items():
        (folder / "links" / name).symlink_to(target)
    _write(folder, "ignored/no", "no", 0o644)
    _write(folder, "ignored/yes", "yes", 0o644)
    _write(folder, ".dockerignore", ".dockerignore\nignored/*\n!ignored/yes\n**/deep\n", 0o644)
    for name, mode in {"archive.tar": "w", "archive.tgz": "w:gz"}.items():
        (folder / name).write_bytes(_archive(mode))
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    return folder


def _write(folder: Path, name: str, text: str, mode: int) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _archive(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, kind, bits, data in (("d", tarfile.DIRTYPE, 0o750, b""), ("d/f", tarfile.REGTYPE, 0o604, b"in it")):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.size, info.uid, info.gid = kind, bits, len(data), 5, 6
            info.mtime = 1_500_000_000
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("d/l")
        link.type, link.linkname = tarfile.SYMTYPE, "f"
        archive.addfile(link)
    return buffer.getvalue()
