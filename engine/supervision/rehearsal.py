"""A start that the launcher goes through, so that no monitor does so for the first time."""

from __future__ import annotations

import os

from dosirak.engine.supervision import starter, wire
from dosirak.engine.supervision.monitor import Monitor

# So often is a function called before the interpreter has specialised it.
_REHEARSALS = 10


def rehearse() -> None:
    """In the launcher: go through a start. What the interpreter notes while code is new (specialised instructions,
    where a type's methods are) is then shared by all monitors, each of which would write it to pages of its own."""
    place = os.memfd_create("log", os.MFD_CLOEXEC)
    log = {
        "driver": "json-file",
        "path": f"/proc/self/fd/{place}",
        "max_size": 0,
        "max_files": 1,
        "compress": False,
        "attributes": None,
    }
    document = {
        **{"op": "exec", "bundle": "/", "log": log, "stdin_once": False, "attach": [], "join": [], "size": (0, 0)},
        **{
            "filter": False,
            "init": False,
            "gated": False,
            "restart": {"policy": "no", "max_retries": 0, "restarts": 0},
        },
    }
    told = {"at": 0.0, "cgroup": "", "shared_pids": False, "streams": [True, False, True, True, False, False]}
    for _ in range(_REHEARSALS):
        (status, service), (channel, starter_end) = wire.pair(), wire.pair()
        outputs = [os.pipe() for _ in range(3)]
        wire.send_long(starter_end, wire.pack(document), [status.fileno(), outputs[0][0]])
        request = starter.read(*wire.receive(channel))
        monitor = Monitor(request)
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        wire.send(starter_end, wire.pack(told | {"pid": pid}), [read for read, _ in outputs])
        monitor._await_start(channel, 0, monitor._prepare())
        for ends in outputs:
            for fd in ends:
                os.close(fd)
        monitor._loop.run()
        for fd in (request.target, monitor._bundle, monitor._log_file()):
            os.close(fd)
        for sock in (status, service, starter_end):
            sock.close()
    os.close(place)
