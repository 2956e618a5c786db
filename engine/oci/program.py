"""`dosirak runtime`, started: `python -S -E -I …/oci/program.py COMMAND …`, or `dosirak-runtime COMMAND …`.

Python's own start is a third of what a container's takes; to find, open, check and link fifty modules would be another
third. So this file is small (a script is compiled each time), and takes the modules, compiled, from one file beside
them (`packing`), unless one of them has changed.
"""

import marshal
import os
import sys


def main(words: list[str]) -> int:
    """One command line; the exit status."""
    from dosirak.engine.oci import commands

    return commands.main(words)


if __name__ == "__main__":
    import gc

    gc.disable()  # it would look at each module's objects, and all is over soon
    here = os.path.dirname(os.path.abspath(__file__))
    pack = f"{here}/__pycache__/runtime.{sys.implementation.cache_tag}.pack"
    sys.path.append(here.removesuffix("/dosirak/engine/oci"))  # isolated (-I), it is found from this file's own place
    packed, fd = False, -1
    try:
        fd = os.open(pack, os.O_RDONLY | os.O_CLOEXEC)
        code, index = marshal.loads(os.pread(fd, int.from_bytes(os.pread(fd, 4, 0), "little"), 4))
        loading: dict[str, object] = {"__name__": "loading"}
        exec(code, loading)
        packed = loading["unpack"](pack, fd, index, sys.argv[1:])  # type: ignore[operator]
    except Exception:
        packed = False  # there is none, or it is damaged
    if fd >= 0:
        os.close(fd)
    if not packed:
        from dosirak.engine.oci import packing

        packing.write(pack)
    os._exit(main(sys.argv[1:]))  # nothing is left to be tidied up
