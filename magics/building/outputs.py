"""`-o`: what becomes of a build that is not to stay here as an image: a folder, a tar, an image archive.

All of it through Docker's own API, so that it works with whatever engine builds.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import secrets
import sys
import tarfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dosirak.magics.errors import DosirakError, NotSupported, UsageError
from dosirak.magics.files.unpack import unpack
from dosirak.magics.files.whole import whole_file

if TYPE_CHECKING:
    from dosirak.magics.engine import Engine

_KINDS = ("image", "docker", "oci", "tar", "local")
_PIECE = 1 << 20
_NAME = re.compile(r"(?P<path>.+?)(?::(?P<tag>[\w][\w.-]{0,127}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Output:
    """One `-o`. `kind` is image, docker, oci, tar or local; `dest` a path here, "-" standard output."""

    kind: str
    dest: str = ""
    names: tuple[str, ...] = ()
    rewrite: bool = False
    unpacked: bool = False

    @property
    def stays(self) -> bool:
        """Whether the image stays with the engine: then its names are the build's tags."""
        return self.kind == "image" or (self.kind == "docker" and not self.dest)


def parse(text: str) -> Output:
    """`DIR`, `-`, or `type=…,dest=…,name=…`. Raises UsageError, NotSupported."""
    if "=" not in text:
        return Output("tar", "-") if text == "-" else Output("local", text)
    try:
        row = next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration):
        raise UsageError(f"invalid value {text}") from None
    fields = {key.strip().lower(): value for key, _, value in (entry.partition("=") for entry in row)}
    kind = fields.pop("type", "")
    if not kind:
        raise UsageError("type is required for output")
    if kind in ("registry", "cacheonly") or _true(fields.pop("push", "")):
        raise NotSupported(f"--output {text}: build with -t, then push the image")
    if kind not in _KINDS:
        raise UsageError(f"unknown output type {kind!r}: it is one of {', '.join(_KINDS)}")
    output = Output(
        kind,
        fields.pop("dest", ""),
        tuple(filter(None, fields.pop("name", "").split(","))),
        _true(fields.pop("rewrite-timestamp", "")),
        not _true(fields.pop("tar", "true")),
    )
    if fields:
        raise NotSupported(f"--output: {next(iter(fields))} is not supported by Dosirak")
    return _checked(output)


def _checked(output: Output) -> Output:
    if output.kind == "local" and output.dest in ("", "-"):
        raise UsageError("dest is required for local output: a folder")
    if output.kind in ("tar", "oci") and not output.dest:
        output = Output(output.kind, "-", output.names, output.rewrite, output.unpacked)
    if output.dest == "-" and sys.stdout.isatty():
        raise UsageError(f"dest file is required for {output.kind} exporter. refusing to write to console")
    if output.unpacked and output.dest == "-":
        raise UsageError(f"dest is required for {output.kind} output with tar=false: a folder")
    return output


def _true(text: str) -> bool:
    return text.lower() in ("1", "true", "t")


@dataclass(slots=True)
class Delivery:
    """A build's outputs, from before it begins until they are written."""

    outputs: tuple[Output, ...]
    tags: tuple[str, ...]
    _before: Collection[str] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the image gets in the engine: none when it does not stay."""
        stays = [output for output in self.outputs if output.stays]
        if self.outputs and not stays:
            return ()
        return (*self.tags, *(name for output in stays for name in output.names))

    @property
    def rewrite(self) -> bool:
        """Whether files of the layers are to be no younger than SOURCE_DATE_EPOCH."""
        return any(output.rewrite for output in self.outputs)

    @property
    def to_stdout(self) -> bool:
        """Whether standard output is taken by an output."""
        return any(output.dest == "-" for output in self.outputs)

    def begin(self, engine: Engine) -> None:
        """Remembers which images there are: one that was there is not taken away."""
        if self.outputs and not self.names:
            self._before = {str(image["Id"]) for image in engine.get("/images/json", {"all": True})}

    def finish(self, engine: Engine, image: str) -> None:
        """Writes the outputs; an image that nobody asked to keep goes. Raises DosirakError."""
        try:
            for output in self.outputs:
                if not output.stays:
                    _write(engine, image, output, self.tags)
        except (OSError, tarfile.TarError) as error:
            raise DosirakError(f"failed to write output: {error}") from error
        finally:
            if self.outputs and not self.names and image not in self._before:
                with contextlib.suppress(DosirakError):
                    engine.delete(f"/images/{image}", {"noprune": True})


def _write(engine: Engine, image: str, output: Output, tags: tuple[str, ...]) -> None:
    if output.kind in ("tar", "local"):
        with _files(engine, image) as reader:
            _deliver(reader, output, unpacked=output.kind == "local")
        return
    with engine.call("GET", f"/images/{image}/get", stream=True) as response:
        names = output.names or tags
        pieces = _named(response.raw, names) if names else iter(lambda: response.raw.read(_PIECE), b"")
        _deliver(_Reader(pieces), output, unpacked=output.unpacked)


@contextlib.contextmanager
def _files(engine: Engine, image: str) -> Iterator[IO[bytes]]:
    """The image's file system as a tar stream: a container that is never started, exported."""
    body = {"Image": image, "Entrypoint": [], "Cmd": ["-"], "NetworkDisabled": True}
    container = engine.post("/containers/create", {"name": f"output-{secrets.token_hex(6)}"}, body)["Id"]
    try:
        with engine.call("GET", f"/containers/{container}/export", stream=True) as response:
            yield response.raw
    finally:
        engine.delete(f"/containers/{container}", {"force": True, "v": True})


def _deliver(reader: Any, output: Output, *, unpacked: bool) -> None:
    if unpacked:
        Path(output.dest).mkdir(parents=True, exist_ok=True)
        unpack(reader, output.dest, lambda name: name, plain=True)
        return
    if output.dest == "-":
        while piece := reader.read(_PIECE):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    target = Path(output.dest)
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as file:
        while piece := reader.read(_PIECE):
            file.write(piece)


class _Reader:
    """Pieces of bytes as something to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (piece := next(self._pieces, b"")):
            self._rest += piece
        found, self._rest = self._rest[:size], self._rest[size:]
        return found


def _named(stream: Any, names: tuple[str, ...]) -> Iterator[bytes]:
    """An image archive whose image has these names, wherever it comes from."""
    full = [_tagged(name) for name in names]
    with tarfile.open(fileobj=stream, mode="r|") as source:
        for member in source:
            content = source.extractfile(member)
            if content is not None and member.name in _RENAMED:
                data = json.dumps(_RENAMED[member.name](json.load(content), full), separators=(",", ":")).encode()
                member.size = len(data)
                content = io.BytesIO(data)
            yield member.tobuf(tarfile.PAX_FORMAT)
            if content is not None:
                while piece := content.read(_PIECE):
                    yield piece
                yield bytes(-member.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _tagged(name: str) -> str:
    found = _NAME.fullmatch(name)
    path = found["path"] if found else name
    tag = (found and found["tag"]) or "latest"
    first = path.split("/", 1)[0]
    if "/" not in path:
        path = f"docker.io/library/{path}"
    elif not ("." in first or ":" in first or first == "localhost"):
        path = f"docker.io/{path}"
    return f"{path}:{tag}"


def _rename_index(document: Any, names: list[str]) -> Any:
    manifests = []
    for entry in document.get("manifests", []):
        for name in names:
            notes = {
                **(entry.get("annotations") or {}),
                "io.containerd.image.name": name,
                "org.opencontainers.image.ref.name": name.rpartition(":")[2],
            }
            manifests.append({**entry, "annotations": notes})
    return {**document, "manifests": manifests}


def _rename_manifest(document: Any, names: list[str]) -> Any:
    familiar = [name.removeprefix("docker.io/").removeprefix("library/") for name in names]
    return [{**entry, "RepoTags": familiar} for entry in document]


_RENAMED = {"index.json": _rename_index, "manifest.json": _rename_manifest}


def write_metadata(path: str, image: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """`--metadata-file`: the digests and names, with BuildKit's keys."""
    descriptor = image.get("Descriptor") or {}
    document: dict[str, Any] = {"containerimage.config.digest": image["Id"]}
    if descriptor.get("digest"):
        document["containerimage.digest"] = descriptor["digest"]
        document["containerimage.descriptor"] = descriptor
    if names:
        document["image.name"] = ",".join(_tagged(name) for name in names)
    Path(path).write_text(json.dumps(document, indent=2) + os.linesep)
