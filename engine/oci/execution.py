"""exec: a further process in a running container."""

from __future__ import annotations

import os

from dosirak.engine.oci import bundle as bundles
from dosirak.engine.oci import filters, launch, lifecycle, sealing, state, staying
from dosirak.engine.oci.failure import Failure
from dosirak.engine.runtime import capabilities, cgroups, child, container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dosirak.engine.oci.arguments import Options

FLAGS = "tty,t detach,d no-new-privs ignore-paused"
VALUES = "console-socket cwd user,u process,p pid-file pidfd-socket preserve-fds apparmor process-label"
LISTS = "env,e cap,c additional-gids,g cgroup"


def execute(root: str, found: state.State, options: Options, arguments: list[str]) -> int:
    """Run it; its exit status, or 0 once it runs where nobody is to stay with it. Raises Failure, OSError."""
    status = found.status()
    if status in ("stopped", "creating"):
        raise Failure(f"cannot exec in a {status} container")
    if status == "paused" and not options.has("ignore-paused"):
        raise Failure("cannot exec in a paused container (use --ignore-paused to override)")
    config = found.config()
    if options.get("process") and not os.path.isfile(options.get("process")):
        sealing.be_sealed()  # from the beginning, which it has only once
    process = _process(config, options, arguments)
    os.close(sealing.enter(found.directory, config, process))  # while there is all that the command line names
    preserve = lifecycle.check_preserved(options.number("preserve-fds"))  # now: the document may come by a descriptor
    entering = sealing.enter(found.directory, config, process)
    detached = options.has("detach")
    staying.check(terminal=bool(process.get("terminal")), detached=detached, sock=options.get("console-socket"))
    if preserve:
        process["env"] = [*(process.get("env") or ()), f"LISTEN_FDS={preserve}"]
    for below in options.all("cgroup"):
        config["linux"]["cgroupsPath"] = _cgroup(found.cgroup, below)
    affinity = process.get("execCPUAffinity") or {}
    if affinity.get("initial"):
        os.sched_setaffinity(0, bundles.numbers("initial", affinity["initial"]))
    target, filter_fd = found.open_process(), filters.find(root, config["linux"])
    told = launch.telling(config, **found.public("running"))

    def prepare() -> tuple[child.Plan, int]:
        size = bundles.size_of(process)
        return container.prepare_join(told, process, target, filter_fd=filter_fd, size=size), 0

    def door(sock: launch.Socket) -> launch.Door:
        made = launch.Door({}, sock, fifo=-1, preserve=preserve, keyring=f"_ses.{found.id}")
        if cpus := affinity.get("final") or affinity.get("initial"):
            made.affinity = bundles.numbers("execCPUAffinity", cpus)
        return made

    launched = launch.launch(prepare, door, starter=launch.needs_starter({**config, "hooks": {}}))
    try:
        launched.until(b"R")
        launched.set_oom_score(process)
        lifecycle.hand_over(launched, options.get("console-socket"), options.get("pidfd-socket"))
        if options.get("pid-file"):
            lifecycle.write_pid(options.get("pid-file"), launched.pid)
        launched.go_on({})
        launched.until_running()
        os.close(entering)
    except BaseException:
        launched.end()
        raise
    return 0 if detached else staying.stay(launched.pid, launched.terminal)


def _cgroup(own: str, asked: str) -> str:
    """A group below the container's own. On v1 runc takes "CONTROLLER,…:PATH": here all have the same."""
    controllers, _, path = asked.rpartition(":")
    if controllers:
        raise Failure(
            f"--cgroup {asked}: one controller's group apart from the others is not supported by this runtime"
        )
    if ".." in path.split("/"):
        raise Failure(f"bad sub cgroup path: {path}")
    below = os.path.normpath(f"/{path}").lstrip("/")
    full = f"{own}/{below}".rstrip("/")
    if not any(os.path.isdir(directory) for _, directory in cgroups.binds(full)):
        raise Failure(f"unable to join cgroup {path}: no such cgroup of this container")
    return full


def _process(config: dict[str, Any], options: Options, arguments: list[str]) -> dict[str, Any]:
    """From --process, or what the container's first process has with the command line's changes. Raises Failure."""
    process: dict[str, Any]
    if options.get("process"):
        process = bundles.read(options.get("process"))
        if options.has("tty"):
            process["terminal"] = True
    else:
        if not arguments:
            raise Failure("process args cannot be empty")
        process = config["process"] | {"args": arguments, "terminal": options.has("tty")}
    if options.get("cwd"):
        process["cwd"] = options.get("cwd")
    process["env"] = [*(process.get("env") or ()), *options.all("env")]
    if options.has("no-new-privs"):
        process["noNewPrivileges"] = True
    for option, name in (("apparmor", "apparmorProfile"), ("process-label", "selinuxLabel")):
        if options.get(option):
            process[name] = options.get(option)
    process["user"] = dict(process.get("user") or {})
    if options.get("user"):
        process["user"] |= _user(options.get("user"))
    if gids := options.all("additional-gids"):
        more = [_number(one) for one in ",".join(gids).split(",")]
        process["user"]["additionalGids"] = [*(process["user"].get("additionalGids") or ()), *more]
    _add_capabilities(process, options.all("cap"))
    bundles.check_process(process)
    return process


def _add_capabilities(process: dict[str, Any], names: list[str]) -> None:
    """As runc: ambient ones too where there are inheritable ones already, which they need."""
    for name in names:
        if name not in capabilities.KNOWN:
            raise Failure(f"unknown capability {name!r}")
    sets = process["capabilities"] = dict(process.get("capabilities") or {})
    kinds = ["bounding", "effective", "permitted"]
    if sets.get("inheritable") is not None:
        kinds.append("ambient")
    for kind in kinds if names else ():
        sets[kind] = [*(sets.get(kind) or ()), *names]


def _user(text: str) -> dict[str, Any]:
    uid, colon, gid = text.partition(":")
    return {"uid": _number(uid)} | ({"gid": _number(gid)} if colon else {})


def _number(text: str) -> int:
    if not text.isdecimal():
        raise Failure(f"{text!r} is not a user's or group's number")
    return int(text)
