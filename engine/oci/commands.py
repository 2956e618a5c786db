"""`dosirak runtime`: reads the command line, does one command, says what went wrong.

All that it imports is the standard library and this package, what a command needs only for it.
"""

from __future__ import annotations

import os

from dosirak.engine.oci.arguments import Grammar, Options, exactly
from dosirak.engine.oci.failure import Failure, Invocation, debug, report

ROOT = "/run/dosirak-runtime"
"""Where state lies unless --root says otherwise."""

_GLOBAL = Grammar(
    flags="debug systemd-cgroup,s help,h version,v", values="root log log-format log-level rootless cgroup-manager"
)
_MAKING_FLAGS = "no-pivot no-new-keyring"
_MAKING_VALUES = "bundle,b config,f console-socket pidfd-socket pid-file preserve-fds"
_USAGE = """\
Usage: dosirak runtime [--root DIR] [--log FILE] [--log-format text|json] COMMAND

create   make a container, whose process waits for start     run      create, start, wait, delete
start    run its program                                     exec     a further process in it
state    its state as JSON                                   list     all containers
kill     send a signal                                       ps       its processes
delete   remove it                                           pause, resume, update, events
spec     write a config.json                                 features what this runtime does
"""


def main(words: list[str]) -> int:
    """Do it; the exit status."""
    options = Options()
    Invocation.words = words
    try:
        options, rest = _GLOBAL.parse(words)
        Invocation.log, Invocation.log_format = options.get("log"), options.get("log-format", "text")
        Invocation.debug = options.has("debug") or options.get("log-level") == "debug"
        if options.has("version"):
            return _say(f"dosirak runtime version {_version()}")
        if options.has("help") or not rest or rest[0] in ("help", "--help"):
            return _say(_USAGE.rstrip())
        _check(options)
        command = _COMMANDS.get(rest[0])
        if command is None:
            raise Failure(f"no such command: {rest[0]}")
        if rest[1:2] and rest[1] in ("--help", "-h"):
            return _say(_USAGE.rstrip())
        debug(f"{rest[0]}: {' '.join(rest[1:])}")
        return command(os.path.abspath(options.get("root", ROOT)), rest[1:])
    except Failure as failure:
        message, status = str(failure), failure.status
    except OSError as error:
        message, status = describe(error), 1
    except (TypeError, AttributeError, KeyError, ValueError) as error:  # of a document that is not as it should be
        message, status = f"a value of the wrong kind, or one that is missing: {type(error).__name__}: {error}", 1
    try:
        report(f"{message}", "error", Invocation.log, Invocation.log_format)
    except BrokenPipeError:
        pass  # nobody listens
    return status


def describe(error: OSError) -> str:
    """One line of an error of the kernel's."""
    from dosirak.engine.runtime import child

    return child.describe(error)


def _check(options: Options) -> None:
    if log := options.get("log"):
        try:
            os.close(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644))
        except OSError as error:
            raise Failure(f"opening the log {log}: {os.strerror(error.errno or 0).lower()}") from error
    if options.get("log-format", "text") not in ("text", "json"):
        raise Failure(f'invalid log-format "{options.get("log-format")}"')
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
    flags = _MAKING_FLAGS + (" detach,d keep no-subreaper" if command == "run" else "")
    options, rest = Grammar(flags=flags, values=_MAKING_VALUES).parse(words, between=True)
    exactly(1, rest, command)
    if options.has("no-pivot"):
        raise Failure("--no-pivot is not supported by this runtime: a container could leave a root by chroot alone")
    _be_private()
    from dosirak.engine.oci import lifecycle

    request = lifecycle.Request(options.get("bundle"), detached=command == "create" or options.has("detach"))
    request.config = options.get("config")
    request.pid_file, request.console_socket = options.get("pid-file"), options.get("console-socket")
    request.pidfd_socket = options.get("pidfd-socket")
    request.keep, request.keyring = options.has("keep"), not options.has("no-new-keyring")
    request.preserve = options.number("preserve-fds")
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

    options, rest = Grammar(flags="all,a regex,r").parse(words, between=True)
    if not 1 <= len(rest) <= 2:
        raise Failure('"kill" requires a minimum of 1 and a maximum of 2 arguments')
    number = signals.number(rest[1] if len(rest) > 1 else "SIGTERM")
    for name in state.matching(root, rest[0]) if options.has("regex") else rest[:1]:
        lifecycle.kill(state.load(root, name), number, everything=options.has("all"))
    return 0


def _delete(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import lifecycle, state

    options, rest = Grammar(flags="force,f regex,r").parse(words, between=True)
    exactly(1, rest, "delete")
    for name in state.matching(root, rest[0]) if options.has("regex") else rest:
        try:
            found = state.load(root, name)
        except Failure:
            if not options.has("force"):
                raise
            state.sweep(root, name)
        else:
            lifecycle.delete(found, force=options.has("force"))
    return 0


def _state(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import documents, state

    _, rest = Grammar().parse(words)
    exactly(1, rest, "state")
    return _say(documents.pretty(state.load(root, rest[0]).public()))


def _list(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import looking

    options, rest = Grammar(flags="quiet,q", values="format,f").parse(words)
    exactly(0, rest, "list")
    if root != ROOT and not os.path.isdir(root):
        raise Failure(f"open {root}: no such file or directory")
    return _say(looking.listing(root, form=options.get("format", "table"), quiet=options.has("quiet")))


def _ps(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import looking, state

    options, rest = Grammar(values="format,f").parse(words)
    if not rest:
        raise Failure('"ps" requires a minimum of 1 argument')
    found = state.load(root, rest[0])
    return _say(looking.processes(found, form=options.get("format", "table"), columns=rest[1:]))


def _exec(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import execution

    options, rest = Grammar(execution.FLAGS, execution.VALUES, execution.LISTS).parse(words)
    if not rest:
        raise Failure('"exec" requires a minimum of 1 argument')
    _be_private()
    from dosirak.engine.oci import state

    try:
        return execution.execute(root, state.load(root, rest[0]), options, rest[1:])
    except (Failure, OSError) as error:
        told = describe(error) if isinstance(error, OSError) else error
        raise Failure(f"exec failed: {told}", 255) from error  # apart from the program's own statuses, as runc


def _pause(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import limits, state

    _, rest = Grammar().parse(words)
    exactly(1, rest, "pause")
    limits.pause(state.load(root, rest[0]))
    return 0


def _resume(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import limits, state

    _, rest = Grammar().parse(words)
    exactly(1, rest, "resume")
    limits.resume(state.load(root, rest[0]))
    return 0


def _update(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import limits, state

    options, rest = Grammar(values=limits.OPTIONS).parse(words, between=True)
    exactly(1, rest, "update")
    limits.update(state.load(root, rest[0]), options)
    return 0


def _events(root: str, words: list[str]) -> int:
    from dosirak.engine.oci import events, state

    options, rest = Grammar(flags="stats", values="interval").parse(words, between=True)
    exactly(1, rest, "events")
    return events.follow(state.load(root, rest[0]), interval=options.get("interval", "5s"), once=options.has("stats"))


def _spec(_root: str, words: list[str]) -> int:
    from dosirak.engine.oci import template

    options, rest = Grammar(flags="rootless", values="bundle,b").parse(words)
    exactly(0, rest, "spec")
    template.write(options.get("bundle"), rootless=options.has("rootless"))
    return 0


def _features(_root: str, words: list[str]) -> int:
    from dosirak.engine.oci import features

    _, rest = Grammar().parse(words)
    exactly(0, rest, "features")
    return _say(features.text())


def _frozen(_root: str, _words: list[str]) -> int:
    raise Failure("checkpoint and restore are not supported by this runtime")


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
    "events": _events,
    "spec": _spec,
    "features": _features,
    "checkpoint": _frozen,
    "restore": _frozen,
}


def _say(text: str) -> int:
    data = f"{text}\n".encode("utf-8", "surrogateescape") if text else b""
    while data:
        data = data[os.write(1, data) :]
    return 0


def _version() -> str:
    from dosirak import __version__

    return f"{__version__}\nspec: 1.2.0"


def _be_private() -> None:
    """Non-dumpable, so that nobody in the container looks into what we fork (CVE-2016-9962)."""
    from dosirak.engine.runtime import syscalls

    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
