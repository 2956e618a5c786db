"""`--init`: the program that is a container's first process and runs the container's own as its child.

It is 600 bytes of machine code, compiled from `init.c` beside this file and shipped here, so that an engine in Python
needs no foreign binary and an image no Python. Why not a Python of ours as process 1, forked and never exec'd: it would
cost each container a megabyte instead of a few pages, and whoever may trace processes in there (`--privileged`,
`--cap-add SYS_PTRACE`) could read in its memory what the engine knows, and by /proc/1/exe and /proc/1/map_files the
host's files. This program starts from an empty address space, like any other: it has the container's user,
capabilities and seccomp filter, nothing to read in it, and no descriptors but the three streams.

It never lies in a file system: it is executed from a sealed memfd of each container's own (memfd_create(2)), which
nobody can write, not even through /proc/1/exe (CVE-2019-5736), and nothing appears in the image or in `docker diff`.

The code is what these make of init.c (gcc 12.2 of Debian 12, for aarch64 its cross compiler); a test does it again:

    gcc {FLAGS} -o init init.c && objcopy -O binary init code
"""

from __future__ import annotations

import base64
import fcntl
import os
import struct

FLAGS = (
    *("-Os", "-nostdlib", "-static", "-ffreestanding", "-fno-pie", "-no-pie", "-fno-stack-protector"),
    *("-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-fomit-frame-pointer"),
    *("-Wl,--build-id=none", "-Wl,-N", "-Wl,-Ttext=0x4000b0"),
)
"""For the compiler; x86_64 also has -fcf-protection=none."""

CODE = {
    "x86_64": """
SInnSIPk8OgjAAAASIn+MdKAPBYAdAVI/8Lr9UUx0kUxwLgBAAAAvwIAAAAPBcNBV0mJ+UUx0kUxwEFWMdK+wAJAALidAAAAQVVBVFVTSIPsIEiLH78PAAAA
SMdEJBAH+/+/DwW9DgAAAEG8AgAAAEG6CAAAAEiJ6EyJ50iNdCQQDwVFMdK4OAAAAL8RAAAASInWDwVJicdIhcAPhcYAAAAxwEmNXNkQTIn/TIn+SIlEJBhM
ifq4JwAAAA8FiUQkDLhtAAAADwW4EAAAAEiNVCQMvhBUAAAPBUG6CAAAAEiJ6EyJ50yJ+kiNdCQYDwVFMdJIjVMISY1xGEiLO7g7AAAADwW/zAJAAEmJwej7
/v//SIs76PP+//+/EANAAOjp/v//Mf9Jg/n+uDwAAABAD5THTIn+RTHSRTHASIPHfkyJ+g8FQbmAAAAAQb0+AAAAuz0AAABIg83/QbwBAAAAQb48AAAA60R5
27/5AkAA6Jn+//8x0kUx0kUxwLg8AAAAv4AAAABIidbruEiD+BF1PUUx0kUxwEiJ2EiJ70iNdCQYTIniDwVIhcB/NzHSQboIAAAARTHATInISI18JBBIidYP
BUiJxkiFwH+/68NIjUDrSIP4AXa5RTHSTInoTIn/6ypJOcd1qYtEJBiJwg+2xIPif3QGjYKAAAAAMdJIY/hFMdJFMcBMifBIidYPBeuAZG9ja2VyLWluaXQA
ZG9ja2VyLWluaXQ6IHRoZSBwcm9ncmFtIGNhbid0IGJlIGV4ZWN1dGVkOiAAZG9ja2VyLWluaXQ6IGNhbid0IGZvcmsKAA==
""",
    "aarch64": """
4AMAkRMAAJToAwCq4AMBquEDAqriAwOq4wMEqgQAgNIBAADUwANf1uIDAKoDAIDSQGhjOKAAADUEAIDSQQCA0gAIgNLx//8XYwQAkfn//xcHAED55QMAqgCf
gJL+Dx344P+38gQAgNIDAIDS4QGA0gIAAJBCEAyR4BMA+eAUgNLi//+X4oMAkQQBgNIDAIDSQQCA0uAQgNLc//+XBACA0gMAgNICAIDSIQKA0oAbgNLW//+X
5gMAqqALALXjCACRBACA0gIAgNIBAIDSafB906cMA4uAFYDSAwCA0v8XAPnK//+XBACA0gMAgNICAIDSAQCA0uAfALlAE4DSw///l+NzAJEEAIDSAoKK0gEA
gNKgA4DSvf//l+KjAJEEAYDSAwCA0kEAgNLgEIDSt///l6FoafjjIACRomAAkQQAgNKgG4DSsf//l+cDAKoAAACQAEAMkbX//5egaGn4s///lwAAAJAAUA2R
sP//l/8IALHBD4DS4A+A0iEQgJoEAIDSAwCA0gIAgNKgC4DSn///lwIAgNLhgwCRBAGA0gMAgNIgEYDSmf//lx8AAPHiAwCqBMhR+iABAFQAVADRHwQA8ckA
AFThAwaqBACA0gMAgNIgEIDSjf//l+KjAJEEAIDSIwCA0gEAgJKAIIDSh///lx8AAPHt/P9U3wAA6+H+/1TgK0C5BACA0gMAgNICGAByQQACEQA8SNMCAIDS
IXxAkwEAgZqgC4DS6///Fx8AAPEK+/9UAAAAkAD0DJF7//+XBACA0gMAgNICAIDSARCA0s7//xdkb2NrZXItaW5pdABkb2NrZXItaW5pdDogdGhlIHByb2dy
YW0gY2FuJ3QgYmUgZXhlY3V0ZWQ6IABkb2NrZXItaW5pdDogY2FuJ3QgZm9yawoA
""",
}
"""Machine code by `uname -m`, in base64."""

_MACHINES = {"x86_64": 62, "aarch64": 183}  # EM_X86_64, EM_AARCH64 of elf.h
_BASE = 0x400000
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")  # Elf64_Ehdr
_SEGMENT = struct.Struct("<IIQQQQQQ")  # Elf64_Phdr
_LOAD, _STACK, _EXECUTE, _WRITE, _READ = 1, 0x6474E551, 1, 2, 4
_F_SEAL_EVERYTHING = 0x1 | 0x2 | 0x4 | 0x8  # seal, shrink, grow, write: fcntl(2)
_MFD_EXEC = 0x10  # since Linux 6.3: executable whatever vm.memfd_noexec=1 makes the default


def program(machine: str) -> bytes:
    """The whole executable: an ELF header, one segment of code, a stack that can't be executed."""
    code = base64.b64decode(CODE[machine])
    start = _HEADER.size + 2 * _SEGMENT.size
    entry = _BASE + start
    ident = b"\x7fELF\x02\x01\x01"
    header = _HEADER.pack(
        ident, 2, _MACHINES[machine], 1, entry, _HEADER.size, 0, 0, _HEADER.size, _SEGMENT.size, 2, 0, 0, 0
    )
    load = _SEGMENT.pack(_LOAD, _READ | _EXECUTE, start, entry, entry, len(code), len(code), 1)
    return header + load + _SEGMENT.pack(_STACK, _READ | _WRITE, 0, 0, 0, 0, 0, 0) + code


def open_program() -> int:
    """A descriptor of a sealed file with the program, to be executed once. Raises OSError."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create("docker-init", flags | _MFD_EXEC)
    except OSError:
        fd = os.memfd_create("docker-init", flags)
    try:
        os.write(fd, program(os.uname().machine))
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _F_SEAL_EVERYTHING)
    except BaseException:
        os.close(fd)
        raise
    return fd
