"""exec: a further process in a running container."""

from __future__ import annotations

import json

from dosirak.engine.oci import bundle as bundles
from dosirak.engine.oci import console, filters, launch, lifecycle, state
from dosirak.engine.oci.failure import Failure
from dosirak.engine.runtime import child, container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dosirak.engine.oci.arguments import Options

FLAGS = "tty,t detach,d no-new-privs ignore-paused"
VALUES = "console-socket cwd user,u process,p pid-file preserve-fds"
LISTS = "env,e additional-gids,g cap,c"


def execute(root: str, found: state.State, options: Options, arguments: list[str]) -> int:
    """Run it; its exit status, or 0 once it runs where nobody is to stay with it. Raises Failure, OSError."""
    status = found.status()
    if status == "stopped":
        raise Failure("cannot exec in a stopped container")
    if status == "paused" and not options.has("ignore-paused"):
        raise Failure("cannot exec in a paused container (use --ignore-paused to override)")
    process = _process(found.config["process"], options, arguments)
    detached = options.has("detach")
    console.check(terminal=bool(process.get("terminal")), detached=detached, sock=options.get("console-socket"))
    preserve = options.number("preserve-fds")
    target, filter_fd = found.open_process(), filters.find(root, found.config["linux"])

    def prepare() -> tuple[child.Plan, int]:
        size = bundles.size_of(process)
        return container.prepare_join(found.config, process, target, filter_fd=filter_fd, size=size), 0

    launched = launch.launch(prepare, {}, preserve=preserve)
    try:
        launched.until("ready")
        if options.get("console-socket"):
            console.hand_over(launched.terminal, options.get("console-socket"))
        if options.get("pid-file"):
            lifecycle.write_pid(options.get("pid-file"), launched.pid)
        launched.go_on({})
        launched.until_running()
    except BaseException:
        launched.end()
        raise
    return 0 if detached else console.serve(launched.pid, launched.terminal)


def _process(main: dict[str, Any], options: Options, arguments: list[str]) -> dict[str, Any]:
    """From --process, or what the container's first process has with the command line's changes. Raises Failure."""
    if options.get("process"):
        given = bundles.read(options.get("process"))
        if options.has("tty"):
            given["terminal"] = True
        bundles.check_process(given)
        return given
    if not arguments:
        raise Failure("process args cannot be empty")
    process: dict[str, Any] = json.loads(json.dumps(main))
    process |= {"args": arguments, "terminal": options.has("tty")}
    if options.get("cwd"):
        process["cwd"] = options.get("cwd")
    process["env"] = [*(process.get("env") or ()), *options.all("env")]
    if options.has("no-new-privs"):
        process["noNewPrivileges"] = True
    if options.get("user"):
        process["user"] = _user(options.get("user"))
    process["user"] = process.get("user") or {}
    if gids := options.all("additional-gids"):
        process["user"]["additionalGids"] = [*(process["user"].get("additionalGids") or ()), *map(_number, gids)]
    for name in options.all("cap"):
        sets = process.setdefault("capabilities", {})
        for kind in ("bounding", "effective", "permitted"):
            sets[kind] = [*(sets.get(kind) or ()), name]
    bundles.check_process(process)
    return process


def _user(text: str) -> dict[str, Any]:
    uid, colon, gid = text.partition(":")
    return {"uid": _number(uid), "gid": _number(gid) if colon else 0}


def _number(text: str) -> int:
    if not text.isdecimal():
        raise Failure(f"{text!r} is not a user's or group's number")
    return int(text)
