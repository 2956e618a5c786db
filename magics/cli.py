"""The `dosirak` program. What each kind of command needs is imported only for it: `runtime` starts once a container."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run one command line; return the exit status."""
    args = sys.argv[1:] if arguments is None else arguments
    if args[:1] == ["runtime"]:
        from dosirak.engine.oci.program import main as runtime

        return runtime(args[1:])
    from dosirak.magics.terminal import run

    return run(args)


if __name__ == "__main__":
    sys.exit(main())
