"""Monitors give back the memory that only counting references took from them.

A monitor is a fork of the launcher, and a page that either writes to is copied. Most of what a Python process writes
into old pages are the reference counts of what it merely uses: half of a quiet monitor's own memory holds what the
launcher's holds, but for those. So the launcher, once it is warm, puts its memory into a file (a sealed
memfd_create(2)), maps that in the memory's place, privately, and raises the count of every object so high that nothing
can bring it down to none. A monitor that has become quiet compares its own pages (/proc/self/pagemap says which they
are) with the file, and gives up those that differ in reference counts alone: after madvise(2) MADV_DONTNEED the file's
page shows again. A page with anything else that is new in it stays.

Both are done by 750 bytes of machine code, between two instructions of the interpreter, so that nothing changes
meanwhile. They are what these make of settling.c (gcc 12.2 of Debian 12, for aarch64 its cross compiler); a test does
it again:

    gcc {FLAGS} -o settling settling.c && objcopy -O binary settling code
"""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import struct

from dosirak.engine.runtime import foreign
from dosirak.engine.runtime.foreign import Structure, c_char_p, c_int, c_long, c_size_t, c_ulong, c_void_p

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

FLAGS = (
    *("-Os", "-nostdlib", "-static", "-ffreestanding", "-fno-pie", "-no-pie", "-fno-stack-protector"),
    *("-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-fomit-frame-pointer"),
    *("-Wl,--build-id=none", "-Wl,-N", "-Wl,-Ttext=0"),
)
"""For the compiler; x86_64 also has -fcf-protection=none."""

CODE = {
    "x86_64": """
e98a010000415741564155415455534889fb4881ecb00f00004c8b6f104c89e848c1e00948894424a84c89e848c1e803488944249831c0488944
24884889442490488b4424884839030f8e290100004c6b6424881831ed4c036308493b6c24080f8303010000498b042431d2488b7b184531c045
31c9488d7424b04801e849f7f5ba001000004c8d14c500000000b8110000000f054885c00f8ed500000048c1e8034531f64531ff48894424a049
8b4424084c397c24a00f849f0000004a8d5435004839c20f83910000004a8b44fcb04885c0797cb90100000048c1e13d4821c8756e498b542410
498b3c244801ea4801ef4c01f24c01f74889d14803532048c1e90648034b2848394424987426488b34c2483934c774174889c648c1ee03440fb6
043189c683e607410fa3f0732248ffc0ebd34531d24531c04531c9b81c0000004c89eeba040000000f0548ff44249049ffc74d01eee951ffffff
488b4424a84801c5e9f2feffff48ff442488e9cefeffff4889442490488b4424904881c4b00f00005b5d415c415d415e415fc341574156415541
5455534889f34885ff757831f641b801000000483b73307d63488b43384c8b0b31c9488b04f04c39c97d4c486bd118480353084989c2488b3a49
29fa4c3b5208720548ffc1ebdf488b4a104801c14829f94489c74889ca48c1e90348c1ea0683e10748035328d3e740083a833800780748810000
00100048ffc6eb9731c0e9c600000048ffcf0f85ab0000004531e441bd120000004c3b237de2496bec184531f648036b08488b75084c8b4d104c
8b7d00488b7b184939f673304c29f64f8d140e4531c04531c94889f24c89e84b8d343e0f054885c07f0d48c7c2fbffffff480f44c2eb644901c6
ebbb4989f841ba12000000b8090000004c89ffba030000000f05488d90ff0f00004881fafe0f00007637488b7508488b7d004531d24531c04531
c9b81c000000ba160000000f0549ffc4e95effffff5b4889f75d415c415d415e415fe926fdffff5b5d415c415d415e415fc3
""",
    "aarch64": """
620000140b0840f9e60300aa0e0080d20d0080d2110380d270d977d36ffd43d3c00040f91f000eebec060054e0030daac0035fd6ca0440f90900
80d2ca29119b400540f91f0009eb08070054c00040f9ce0500911f000eebecfeff54e0030daaff074091c0035fd6e07b72f8c002f8b602004392
8002e8b7410940f9c31042a92101018b400140f921000c8b2001008b6300018b00000c8b8118418bff0102eb81010054281d80d2e1030baa8200
80d2030080d2040080d2050080d2010000d4ad050091520600918c010b8b27000014057862f8647862f8bf0004ebc000005444fc43d345080012
246864388428c51aa4fe073642040091e9ffff17ed0300aad7ffff17ca0440f9090080d2ca29119b400540f91f0009eb68000054ce050091c0ff
ff17ff0740d1430140f9e1030091c00c40f92301038b680880d2020082d2040080d2050080d26308cb9a63f07dd3010000d41f0000f12dfdff54
07fc43d30c0080d2120080d2400540f9ff0012eb8000005421010c8b3f0000eb63f7ff542901108bafffff17e60301aa400500b5010080d20703
80d22800805221000014c01c40f9020080d2c90040f9007861f85f0009eb4a030054c50440f9437c079ba400038ba36863f8850440f90a0003cb
5f0105eb6300005442040091f5ffff17820840f9c41440f90200028b420003cb43fc46d3421403530221c21a856863384200052a826823380200
40b98200f837020040f942004491020000f921040091c01840f93f0000ebcbfbff54000080d2c0035fd61f0400f141060054090080d20d0380d2
1c000014cc0440f92b7d0d9b070080d28a010b8b410940a9450940f9c40c40f9ff0002ebe3020054e00301aac81b80d2e10302aa430280d26200
80d2010000d401fc3f913ff83ff129fdff5480696bf8281d80d2410540f9c20280d2030080d2040080d2050080d2010000d429050091c00040f9
3f0100eb6bfcff54dbffff17e00304aae300058be100018b420007cb880880d2040080d2050080d2010000d41f0000f18c000054810080922000
809acfffff17e700008bd7ffff17e00301aa40ffff17
""",
}
"""Machine code by `uname -m`, in hexadecimal."""

_MARK, _FREEZE, _SETTLE = 0, 1, 2
_READ, _WRITE, _EXECUTE = 1, 2, 4  # mmap(2)
_SHARED, _PRIVATE = 1, 2
_FAILED = (1 << 64) - 1
_SEALS = 0x1 | 0x2 | 0x4 | 0x8  # seal, shrink, grow, write: fcntl(2)
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Bytes of memory for each byte of marks: one bit for a word of eight.
_MARKED = 64

_REGION = struct.Struct("3Q")


class _Frozen(Structure):
    """`struct frozen` of settling.c."""

    _fields_ = (
        *(("count", c_long), ("regions", c_char_p), ("page", c_ulong), ("file", c_long)),
        *(("view", c_ulong), ("marks", c_ulong), ("objects", c_long), ("object", c_char_p)),
    )


class _Launcher:
    """What a monitor has of its launcher."""

    frozen: _Frozen | None = None
    call: Any = None


def freeze() -> None:
    """In the launcher, warm and with a single thread: put its memory into a file, once. Raises OSError."""
    code = CODE.get(os.uname().machine)
    if code is None:
        raise OSError(errno.ENOSYS, "no code for this machine")
    libc = foreign.Library(held=True)
    mmap, munmap = libc["mmap"], libc["munmap"]
    mmap.argtypes, mmap.restype = (c_void_p, c_size_t, c_int, c_int, c_int, c_long), c_void_p
    munmap.argtypes = (c_void_p, c_size_t)

    def mapped(offset: int, length: int, protection: int, flags: int) -> int:
        address = mmap(None, length, protection, flags, fd, offset)
        if address in (None, _FAILED):
            number = foreign.get_errno()
            raise OSError(number, f"mmap: {os.strerror(number)}")
        return int(address)

    places = list(_places())
    size = sum(length for _, length in places)
    marks = -(-size // _MARKED // _PAGE) * _PAGE
    fd = os.memfd_create("launcher", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size + marks + _PAGE)
        os.pwrite(fd, bytes.fromhex(code), size + marks)
        call = foreign.at(mapped(size + marks, _PAGE, _READ | _EXECUTE, _PRIVATE))
        call.argtypes, call.restype = (c_long, c_void_p), c_long
        regions, offset = b"", 0
        for base, length in places:
            regions += _REGION.pack(base, length, offset)
            offset += length
        objects = _objects()
        frozen = _Frozen(len(places), regions, _PAGE, fd, 0, 0, len(objects), struct.pack(f"{len(objects)}Q", *objects))
        at = frozen.marks = mapped(size, marks, _READ | _WRITE, _SHARED)
        call(_MARK, foreign.addressof(frozen))
        munmap(at, marks)
        frozen.objects, frozen.object = 0, None
        if failed := call(_FREEZE, foreign.addressof(frozen)):
            raise OSError(-failed, os.strerror(-failed))
        frozen.view = mapped(0, size + marks, _READ, _PRIVATE)
        frozen.marks = frozen.view + size
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    finally:
        os.close(fd)
    _Launcher.frozen, _Launcher.call = frozen, call


def settle() -> None:
    """In a monitor: give up the pages that differ from the launcher's in nothing but counts."""
    frozen = _Launcher.frozen
    if frozen is None:
        return
    try:
        frozen.file = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return  # where an ordinary user's engine runs: not even one's own may be read
    _Launcher.call(_SETTLE, foreign.addressof(frozen))
    os.close(frozen.file)


def _places() -> Iterator[tuple[int, int]]:
    """The address and length of each part of the memory that is the interpreter's to write, but for the stack."""
    with open("/proc/self/maps", "rb") as maps:
        lines = maps.read().splitlines()
    for line in lines:
        fields = line.split(None, 5)
        name = os.path.basename(fields[5]) if len(fields) > 5 else b""
        if fields[1] == b"rw-p" and (name in (b"", b"[heap]") or name.startswith((b"python", b"libpython"))):
            first, _, last = fields[0].partition(b"-")
            yield int(first, 16), int(last, 16) - int(first, 16)


def _objects() -> list[int]:
    """The addresses of the objects that there are, as far as they can be found: of one that is missed, the pages that
    its count is in stay the monitors' own."""
    gc.unfreeze()
    known: dict[int, object] = {}
    code = type(_objects.__code__)
    found = [*gc.get_objects(), *range(-5, 257), *map(chr, range(256)), None, True, False, ..., (), b""]
    while found:
        fresh = {id(one): one for one in found if id(one) not in known}
        known |= fresh
        found = gc.get_referents(*fresh.values())
        found += {*map(type, fresh.values())}
        for one in fresh.values():
            if type(one) is code:
                found += (one.co_consts, one.co_names, one.co_name, one.co_qualname, one.co_filename)
                found += (one.co_linetable, one.co_exceptiontable, *one.co_varnames, *one.co_freevars)
    gc.freeze()
    return list(known)
