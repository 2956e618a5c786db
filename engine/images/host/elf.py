"""What a program needs to run: its loader and its shared libraries, read from its ELF headers (elf(5), ld.so(8))."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_HEADER = struct.Struct("<4sBB10xHHI QQQ IHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<qQ")
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 1, 5, 15, 29


@dataclass(frozen=True, slots=True)
class Elf:
    """An ELF file's needs. `machine`: e_machine; `interpreter`: "" for libraries; `paths`: $ORIGIN as it stands."""

    machine: int
    interpreter: str
    needed: tuple[str, ...]
    paths: tuple[str, ...]


def read(path: Path) -> Elf | None:
    """Reads a 64-bit little-endian ELF file; None for any other file. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size or head[:6] != b"\x7fELF\x02\x01":
            return None
        _, _, _, _, machine, _, _, table, _, _, _, size, count, *_ = _HEADER.unpack(head)
        file.seek(table)
        segments = [_PROGRAM.unpack_from(row) for row in (file.read(size) for _ in range(count))]

        def content(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        interpreter, dynamic = b"", b""
        for kind, _, offset, _, _, length, *_ in segments:
            if kind == _PT_INTERP:
                interpreter = content(offset, length).rstrip(b"\0")
            elif kind == _PT_DYNAMIC:
                dynamic = content(offset, length)
        entries = [_DYNAMIC.unpack_from(dynamic, at) for at in range(0, len(dynamic) - 15, 16)]
        strings = next((value for tag, value in entries if tag == _DT_STRTAB), 0)

        def string(at: int) -> str:
            # The string table is named by its address in memory: found through the segment loaded there.
            for kind, _, offset, address, _, length, *_ in segments:
                if kind == _PT_LOAD and address <= strings + at < address + length:
                    return content(offset + strings + at - address, 4096).partition(b"\0")[0].decode()
            return ""

        paths = [string(value) for tag, value in entries if tag in (_DT_RPATH, _DT_RUNPATH)]
        return Elf(
            machine=machine,
            interpreter=interpreter.decode(),
            needed=tuple(string(value) for tag, value in entries if tag == _DT_NEEDED),
            paths=tuple(part for path in paths for part in path.split(":") if part),
        )


class Libraries:
    """Finds shared libraries where the dynamic loader would: the program's own paths, ld.so.conf, the usual places."""

    def __init__(self) -> None:
        multiarch = [path for path in Path("/usr/lib").glob("*-linux-gnu*") if path.is_dir()]
        usual = [*multiarch, *map(Path, ("/lib64", "/usr/lib64", "/lib", "/usr/lib"))]
        self._places = [*dict.fromkeys([*_configured(Path("/etc/ld.so.conf"), depth=4), *usual])]
        self._found: dict[tuple[str, int], Path | None] = {}

    def find(self, name: str, program: Path, elf: Elf) -> Path | None:
        """The library `name` that `program` would get; None if there is none."""
        if "/" in name:
            return Path(name)
        for place in elf.paths:
            own = Path(place.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", str(program.parent))) / name
            if _fits(own, elf.machine):
                return own
        key = name, elf.machine
        if key not in self._found:
            candidates = (place / name for place in self._places)
            self._found[key] = next((path for path in candidates if _fits(path, elf.machine)), None)
        return self._found[key]


def _fits(path: Path, machine: int) -> bool:
    try:
        elf = read(path)
    except OSError:
        return False
    return elf is not None and elf.machine == machine


def _configured(config: Path, depth: int) -> list[Path]:
    """The directories of an ld.so.conf, includes followed."""
    places: list[Path] = []
    try:
        lines = config.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return places
    for line in lines:
        text = line.partition("#")[0].strip()
        if text.startswith("include ") and depth:
            for path in sorted(Path("/").glob(text.split()[1].lstrip("/"))):
                places += _configured(path, depth - 1)
        elif text.startswith("/"):
            places.append(Path(text))
    return places
