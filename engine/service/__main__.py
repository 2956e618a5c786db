"""`python -m dosirak.engine.service [--spawned]`: one engine service, until it is ended or idle.

`--spawned` is for `dosirak.engine.start` only: its descriptors 3 and 4 are then the lock and the readiness pipe.
"""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the service; returns the process's exit status."""
    spawned = sys.argv[1:] == ["--spawned"]
    # Before any import: the process that the starter waits for ends here, and what goes on is nobody's child.
    if spawned and os.fork():
        os._exit(0)
    from dosirak.engine.service import process
    from dosirak.engine.start import LOCK_FD, READY_FD

    inherited, ready = (LOCK_FD, READY_FD) if spawned else (None, None)
    process.forget_caller(keep=3 if ready is None else READY_FD + 1)
    if ready is not None:
        os.set_inheritable(ready, False)
    return _serve(inherited, ready)


def _serve(inherited: int | None, ready: int | None) -> int:
    from dosirak.engine import start
    from dosirak.engine.errors import EngineError
    from dosirak.engine.service import process

    try:
        from dosirak.engine import settings as configuration

        settings = configuration.load()
        start.check_possible(settings)
        process.lock(settings.run / "lock", inherited)
        process.lock(settings.data / "lock")
        from dosirak.engine.rootless import enter
        from dosirak.engine.service import scope

        scope.enter(settings.run)  # before there are others that should be in it, and while we are who the bus knows
        keeper = enter(settings)
        listener = process.listen(settings.socket)
        from dosirak.engine.service.serve import run

        run(settings, listener, lambda: process.report(ready, b"+"), keeper)
    except EngineError as error:
        message = error.message
    except OSError as error:
        message = f"the engine can't start: {error}"
    else:
        return 0
    sys.stderr.write(f"dosirak: {message}\n")
    process.report(ready, b"-" + message.encode(errors="replace"))
    return 1


if __name__ == "__main__":
    sys.exit(main())
