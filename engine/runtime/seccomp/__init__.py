"""System call filters: Docker's profiles, the runtime-spec's `linux.seccomp`, and their compilation to BPF.

`profile` turns a profile in Docker's format into `linux.seccomp` for one container, `compiler` that into a program for
the kernel, `store` keeps programs. All of it runs in the service or a command line, ahead of a start; the container's
process only loads the bytes (`process.confine`). `default.json` is Docker's default profile.
"""

from dosirak.engine.runtime.seccomp.document import ProfileError
from dosirak.engine.runtime.seccomp.store import Filter, Filters

__all__ = ["Filter", "Filters", "ProfileError"]
