"""`dosirak runtime`: reads the command line, does one command, says what went wrong.

Run as `python -S -E -I …/oci/program.py COMMAND …` too: all that it imports is the standard library and this package.
"""

from __future__ import annotations

import os
import sys

# Isolated (-I), the package is found from this file's own place.
if __name__ == "__main__" and not __package__:
    _here = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(_here))))

from dosirak.engine.oci.arguments import Grammar, Options, exactly
from dosirak.engine.oci.failure import Failure, report

ROOT = "/run/dosirak-runtime"
"""Where state lies unless --root says otherwise."""

_GLOBAL = Grammar(flags="debug systemd-cgroup help,h version,v", values="root log log-format rootless cgroup-manager")
_UNSUPPORTED = ("no-pivot", "no-new-keyring")
_MAKING_VALUES = "bundle,b console-socket pid-file preserve-fds"
_USAGE = """\
Usage: dosirak runtime [--root DIR] [--log FILE] [--log-format text|json] COMMAND

create   make a container, whose process waits for start     run      create, start, wait, delete
start    run its program                                     exec     a further process in it
state    its state as JSON                                   list     all containers
kill     send a signal                                       ps       its processes
delete   remove it                                           pause, resume, update
spec     write a config.json                                 features what this runtime does
"""


def main(words: list[str]) -> int:
    """Do it; the exit status."""
    options = Options()
    try:
        options, rest = _GLOBAL.parse(words)
        if options.has("version"):
            return _say(f"dosirak runtime {_version()}")
        if options.has("help") or not rest or rest[0] in ("help", "--help"):
            return _say(_USAGE.rstrip())
        _check(options)
        command = _COMMANDS.get(rest[0])
        if command is None:
            raise Failure(f"no such command: {rest[0]}")
        root = os.path.abspath(options.get("root", ROOT))
        return command(root, rest[1:])
    except Failure as failure:
        message, status = str(failure), failure.status
    except OSError as error:
        from dosirak.engine.runtime.child import describe

        message, status = describe(error), 1
    try:
        report(f"{message}", "error", options.get("log"), options.get("log-format", "text"))
    except BrokenPipeError:
        pass  # nobody listens
    return status


def _check(options: Options) -> None:
    if options.get("log-format", "text") not in ("text", "json"):
        raise Failure(f'unknown log-format "{options.get("log-format")}"')
    manager = options.get("cgroup-manager", "cgroupfs")
    if options.has("systemd-cgroup") or manager not in ("cgroupfs", "disabled"):
        raise Failure("cgroups by systemd are not supported; this runtime manages them by their files (cgroupfs)")
    if manager == "disabled":
        raise Failure("a container without cgroups is not supported")


def _create(root: str, words: list[str]) -> int:
    return _make(root, words, "create")


def _run(root: str, words: list[str]) -> int:
    return _make(root, words, "run")


def _make(root: str, words: list[str], command: str) -> int:
    flags = " ".join(_UNSUPPORTED) + (" detach,d keep no-subreaper" if command == "run" else "")
    options, rest = Grammar(flags=flags, values=_MAKING_VALUES).parse(words)
    exactly(1, rest, command)
    for name in _UNSUPPORTED:
        if options.has(name):
            raise Failure(f"--{name} is not supported by this runtime")
    _be_sealed()
    from dosirak.engine.oci import console, lifecycle

    preserve = options.number("preserve-fds")
    console.check_preserved(preserve)
    request = lifecycle.Request(
        options.get("bundle"),
        pid_file=options.get("pid-file"),
        console_socket=options.get("console-socket"),
        preserve=preserve,
        detached=command == "create" or options.has("detach"),
        keep=options.has("keep"),
    )
    try:
        if command == "run":
            return lifecycle.run(root, rest[0], request)
        lifecycle.create(root, rest[0], request)
    except Failure as failure:
        raise Failure(f"{command} failed: {failure}") from failure
    return 0


def _start(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import lifecycle, state

    _, rest = Grammar().parse(words)
    exactly(1, rest, "start")
    lifecycle.start(state.load(root, rest[0]))
    return 0


def _kill(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import lifecycle, signals, state

    options, rest = Grammar(flags="all,a").parse(words)
    if not 1 <= len(rest) <= 2:
        raise Failure('"kill" requires a minimum of 1 and a maximum of 2 arguments')
    number = signals.number(rest[1] if len(rest) > 1 else "SIGTERM")
    lifecycle.kill(state.load(root, rest[0]), number, everything=options.has("all"))
    return 0


def _delete(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import lifecycle, state

    options, rest = Grammar(flags="force,f").parse(words)
    exactly(1, rest, "delete")
    try:
        found = state.load(root, rest[0])
    except Failure:
        if options.has("force"):
            state.sweep(root, rest[0])
            return 0
        raise
    lifecycle.delete(found, force=options.has("force"))
    return 0


def _state(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import looking, state

    _, rest = Grammar().parse(words)
    exactly(1, rest, "state")
    return _say(looking.show(state.load(root, rest[0])))


def _list(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import looking

    options, rest = Grammar(flags="quiet,q", values="format,f").parse(words)
    exactly(0, rest, "list")
    return _say(looking.listing(root, form=options.get("format", "table"), quiet=options.has("quiet")))


def _ps(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import looking, state

    options, rest = Grammar(values="format,f").parse(words)
    exactly(1, rest, "ps")
    return _say(looking.processes(state.load(root, rest[0]), form=options.get("format", "table")))


def _exec(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import execution

    options, rest = Grammar(execution.FLAGS, execution.VALUES, execution.LISTS).parse(words)
    if not rest:
        raise Failure('"exec" requires a minimum of 1 argument')
    _be_sealed()
    from dosirak.engine.oci import console, state

    console.check_preserved(options.number("preserve-fds"))
    try:
        return execution.execute(root, state.load(root, rest[0]), options, rest[1:])
    except Failure as failure:
        raise Failure(f"exec failed: {failure}", 255) from failure  # apart from the program's own statuses, as runc


def _pause(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import limits, state

    exactly(1, words, "pause")
    limits.pause(state.load(root, words[0]))
    return 0


def _resume(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import limits, state

    exactly(1, words, "resume")
    limits.resume(state.load(root, words[0]))
    return 0


def _update(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import limits, state

    options, rest = Grammar(values=limits.OPTIONS).parse(words)
    exactly(1, rest, "update")
    limits.update(state.load(root, rest[0]), options)
    return 0


def _spec(_root: str, words: list[str]) -> int:
    from dosirak.engine.oci import template

    options, rest = Grammar(values="bundle,b").parse(words)
    exactly(0, rest, "spec")
    template.write(options.get("bundle"))
    return 0


def _features(_root: str, words: list[str]) -> int:
    from dosirak.engine.oci import features

    exactly(0, words, "features")
    return _say(features.text())


_COMMANDS = {
    "create": _create,
    "start": _start,
    "state": _state,
    "kill": _kill,
    "delete": _delete,
    "run": _run,
    "exec": _exec,
    "list": _list,
    "ps": _ps,
    "pause": _pause,
    "resume": _resume,
    "update": _update,
    "spec": _spec,
    "features": _features,
}


def _say(text: str) -> int:
    sys.stdout.write(f"{text}\n" if text else "")
    sys.stdout.flush()
    return 0


def _version() -> str:
    from dosirak import __version__

    return f"{__version__}\nspec: 1.2.0"


def _be_sealed() -> None:
    """Go on in an interpreter that no container can write to, and that has imported nothing yet.

    An image may make a container execute /proc/self/exe, which until then is our interpreter: it has to lie on a
    read-only mount (CVE-2019-5736). Non-dumpable, so that what we fork can't be looked into (CVE-2016-9962).
    """
    from dosirak.engine.runtime import syscalls

    if not os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY:
        tree = syscalls.open_tree(syscalls.AT_FDCWD, os.path.realpath(sys.executable), syscalls.OPEN_TREE_CLONE)
        syscalls.mount_setattr(tree, set_=syscalls.MOUNT_ATTR_RDONLY)
        words = sys.argv[1:] if __name__ == "__main__" else sys.argv[2:]
        os.execve(tree, [sys.executable, "-S", "-E", "-I", os.path.abspath(__file__), *words], os.environ)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
