"""The last steps before a container's program, as a program of their own: a list of system calls, executed in place of
the Python that wrote it.

Why not by Python, as in the service's starters: what executes the container's program is, for a moment, the program
itself to whoever asks for /proc/self/exe, and an image may name just that as its program (CVE-2019-5736). The service
starts from a sealed copy of its interpreter once for all containers; a command would have to start Python twice each
time. This one is 600 bytes of machine code and its list, in a sealed memfd of its own that nobody can write. It also is
what waits for `start`, in a few pages, and has nothing in its memory but what the container is told anyway.

The code is what these make of steps.c (gcc 12.2 of Debian 12, for aarch64 its cross compiler); a test does it again:

    gcc {FLAGS} -o steps steps.c && objcopy -O binary steps code
"""

from __future__ import annotations

import fcntl
import os
from _struct import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FLAGS = (
    *("-Os", "-nostdlib", "-static", "-ffreestanding", "-fno-pie", "-no-pie", "-fno-stack-protector"),
    *("-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-fomit-frame-pointer"),
    *("-Wl,--build-id=none", "-Wl,-N", "-Wl,-Ttext=0x4000e8"),
)
"""For the compiler; x86_64 also has -fcf-protection=none."""

CODE = {
    "x86_64": """
4883e4f0e8f00000004531d24531c04531c9b8010000000f05c331d24531d24531c04531c9b83c0000004889d60f05c355534889f34881ec00040000488b
0c2508086000488b57484885c9783ab8e8030000c604244540887424014839c2480f4fd031c04839c27e12488b7740408a3406408874040248ffc0ebe948
83c2024889e64889cfeb51488b7740bf0200000031ede872ffffff483b2c25100860007d28486bc5184803042518086000483b187512488b5010488b7008
bf02000000e845ffffff48ffc5ebceba01000000beb9024000bf02000000e82cffffff31ff4883fb02400f94c74881c4000400005b4883c77e5de921ffff
ff41564983ceff41554531ed41544531e455534c392425000860000f8eae000000496bdc5048031c2520086000f643380874044c897308488b034c8b5320
4c8b43284c8b4b30488b7b08488b7310488b53180f054889c5488b4338a810740c48c7042508086000ffffffff4885ed781da804740f4885ed750abf0100
0000e89ffefffff64338204c0f45f5eb3aa8017536a802740d4d85ed742a4883fdfe7427eb224889ee498d450248f7de48a9fdffffff74064c89ee48f7de
4889dfe876feffffeb034989ed49ffc4e944ffffffbf01000000e849feffff0a00
""",
    "aarch64": """
56000094e50301aae80300aa200440a9a20c41a9a41442a9010000d4c0035fd6fe0f1cf8e00701a9e1430091000880d2e21300f9ffff02a9ff1f00f9f2ff
ff97fe0744f8c0035fd6fe0f1cf8e1430091e00b00f9a00b80d2ffff01a9ffff02a9ff1f00f9e8ffff97fe0744f8c0035fd6090081d2ff4310d1090ca0f2
e30300aa022440f9e60301aa200540f9fe0300f94003f8b7017d80d25fa00ff142d0819aa1088052e1430039010080d2e64700395f0001eb4c0100544208
0091e1430091d8ffff97fe0340f9df0800f1e0179f9aff43109100f80191dcffff17642040f985686138e44300918400018b2104009185080039efffff17
612040f9400080d2070080d20a0380d2c6ffff97200940f9ff0000ebcb00005401000090220080d221100c91400080d2e6ffff17220d40f9e07c0a9b4100
008b406860f8df0000eb81000054218840a9400080d2b5ffff97e7040091eeffff170d0080920e0081d2f2030daa0c0080d20b0080d20e0ca0f20f0a80d2
fe0f1ff8c00140f91f000ceb6c000054200080d2b0ffff97c21140f9807d0f9b4700008be11c40f941001836ed0400f9406860f8e120009196ffff97e603
00aae01c40f940002036d20500f94601f8b780001036660000b5200080d29effff97e01c40f91f007bf2ad01869a8c050091e5ffff17c0ff0737a0000836
7f0100f1c01842ba6b01869af9ffff177f0100f1e10306cb641942bae00307aa21048bda97ffff97f2ffff170a00
""",
}
"""Machine code by `uname -m`, in hexadecimal, which takes no import to be read."""

NUMBERS = {
    "x86_64": {
        **{"read": 0, "write": 1, "close": 3, "execve": 59, "umask": 95, "setgroups": 116, "setresuid": 117},
        **{"setresgid": 119, "capset": 126, "personality": 135, "prctl": 157, "ioprio_set": 251, "openat": 257},
        **{"chdir": 80, "fcntl": 72, "set_mempolicy": 238, "prlimit64": 302, "sched_setattr": 314, "seccomp": 317},
        **{"sched_setaffinity": 203, "sendmsg": 46},
    },
    "aarch64": {
        **{"read": 63, "write": 64, "close": 57, "execve": 221, "umask": 166, "setgroups": 159, "setresuid": 147},
        **{"setresgid": 149, "capset": 91, "personality": 92, "prctl": 167, "ioprio_set": 30, "openat": 56},
        **{"chdir": 49, "fcntl": 25, "set_mempolicy": 237, "prlimit64": 261, "sched_setattr": 274, "seccomp": 277},
        **{"sched_setaffinity": 122, "sendmsg": 211},
    },
}
"""System calls by `uname -m`; faccessat2 has one number everywhere."""
FACCESSAT2 = 439

# What may be said of a step, as steps.c has it.
IGNORE = 1
"""Go on where it fails."""
TRY = 2
"""Go on where it fails, and remember why."""
SOME = 4
"""End where it gives 0: whoever is at the other end has gone."""
LAST = 8
"""Its first argument is what the last step with KEEP gave."""
SILENT = 16
"""The socket is closed after it: what fails from now on is told on standard error."""
KEEP = 32
"""Its result is wanted."""

_MACHINES = {"x86_64": 62, "aarch64": 183}  # EM_X86_64, EM_AARCH64 of elf.h
_BASE, _DATA = 0x400000, 0x600000
_HEADERS, _LIST = 232, 0x800  # where the code begins in the file, and the list (steps.c, LIST)
_LOAD, _STACK, _EXECUTE, _WRITE, _READ = 1, 0x6474E551, 1, 2, 4
_STEP, _HEAD, _NAME = 80, 40, 24  # bytes of the three structures of steps.c
_F_SEAL_EVERYTHING = 0x1 | 0x2 | 0x4 | 0x8  # seal, shrink, grow, write: fcntl(2)
_MFD_EXEC = 0x10  # since Linux 6.3: executable whatever vm.memfd_noexec=1 makes the default
# The errors of execve(2) and open(2) that a program's end is told with.
_TOLD = (1, 2, 5, 7, 8, 12, 13, 20, 21, 22, 26, 36, 40, 80)


class Steps:
    """The list, as it is written."""

    def __init__(self, machine: str, socket: int) -> None:
        """Parameters: `machine`: `uname -m`; `socket`: a descriptor that is told what fails, or -1."""
        self._machine, self.socket = machine, socket
        self._numbers = NUMBERS[machine]
        self._steps: list[tuple[int, list[int], int, int, int]] = []
        self._arrays: list[tuple[int, list[int]]] = []
        self._data = bytearray()

    def add(self, name: str, *arguments: int | bytes, what: str = "", flags: int = 0) -> None:
        """One call. Parameters: `name`: the system call's; `arguments`: numbers, or bytes whose address is meant;
        `what`: is told, before the error, where it fails (else its name)."""
        numbers = [self.place(one) if isinstance(one, bytes) else one for one in arguments]
        text = (what or name).encode("utf-8", "surrogateescape")
        number = FACCESSAT2 if name == "faccessat2" else self._numbers[name]
        self._steps.append((number, numbers + [0] * (6 - len(numbers)), flags, self.place(text), len(text)))

    def place(self, data: bytes) -> int:
        """Put data beside the list; its address relative to that (what `program` makes absolute)."""
        self._data += bytes(-len(self._data) % 8)
        at = len(self._data)
        self._data += data + b"\0"
        return _Relative(at)

    def strings(self, values: Sequence[bytes]) -> int:
        """A null-terminated array of strings, as execve(2) takes them."""
        return self.pointers([self.place(value) for value in values] + [0])

    def pointers(self, values: Sequence[int]) -> int:
        """An array of addresses or numbers."""
        at = self.place(bytes(8 * len(values)))
        self._arrays.append((at, list(values)))
        return at

    def program(self) -> bytes:
        """The whole executable."""
        names = [(number, os.strerror(number).lower().encode()) for number in _TOLD]
        placed = [(number, self.place(b": " + text), len(text) + 2) for number, text in names]
        base = _DATA + _LIST + _HEAD
        steps_at = base + _NAME * len(placed)
        data_at = steps_at + _STEP * len(self._steps)

        def absolute(value: int) -> int:
            return int(value) + data_at if isinstance(value, _Relative) else value

        for at, values in self._arrays:
            self._data[at : at + 8 * len(values)] = pack(f"<{len(values)}q", *map(absolute, values))
        body = [pack("<5q", len(self._steps), self.socket, len(placed), base, steps_at)]
        body += [pack("<3q", number, absolute(text), length) for number, text, length in placed]
        for number, arguments, flags, text, length in self._steps:
            words = [word - (1 << 64) if word >= 1 << 63 else word for word in map(absolute, arguments)]
            body.append(pack("<10q", number, *words, flags, absolute(text), length))
        return _executable(self._machine, b"".join(body) + bytes(self._data))


class _Relative(int):
    """An address from the beginning of the data."""


def _executable(machine: str, body: bytes) -> bytes:
    code = bytes.fromhex(CODE[machine])
    ident, entry, size = b"\x7fELF\x02\x01\x01", _BASE + _HEADERS, _LIST + len(body)
    header = pack("<16sHHIQQQIHHHHHH", ident, 2, _MACHINES[machine], 1, entry, 64, 0, 0, 64, 56, 3, 0, 0, 0)
    text = pack("<IIQQQQQQ", _LOAD, _READ | _EXECUTE, 0, _BASE, _BASE, _LIST, _LIST, 0x10000)
    data = pack("<IIQQQQQQ", _LOAD, _READ | _WRITE, 0, _DATA, _DATA, size, size, 0x10000)
    stack = pack("<IIQQQQQQ", _STACK, _READ | _WRITE, 0, 0, 0, 0, 0, 0)
    return (header + text + data + stack + code).ljust(_LIST, b"\0") + body


def open_program(steps: Steps) -> int:
    """A descriptor of a sealed file with the program, to be executed once. Raises OSError."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create("steps", flags | _MFD_EXEC)
    except OSError:
        fd = os.memfd_create("steps", flags)
    try:
        os.write(fd, steps.program())
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _F_SEAL_EVERYTHING)
    except BaseException:
        os.close(fd)
        raise
    return fd
