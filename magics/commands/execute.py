"""`exec`: one more command in a running container."""

from __future__ import annotations

import contextlib
import signal

import click

from dosirak.magics.commands import foreground
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import DosirakError, Interrupted, UsageError
from dosirak.magics.grammar.create.keyvalues import environment
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.grammar.values import ENV, LIST
from dosirak.magics.objects.exit import ExitStatus
from dosirak.magics.streams import terminal
from dosirak.magics.streams.interrupts import Interrupts
from dosirak.magics.streams.pump import Input, Pump

_USAGE = "[OPTIONS] CONTAINER COMMAND [ARG...]"


@click.command("exec", cls=Command, usage=_USAGE, at_least=2, interspersed=False, body="stdin")
@switch("-d", "--detach", help="Run the command in the background.")
@flag("--detach-keys", help="Keys that detach from the command.")
@flag("-e", "--env", type=ENV, many=True, help="Set an environment variable.")
@flag("--env-file", type=LIST, many=True, help="Read environment variables from a file.")
@switch("-i", "--interactive", help="Keep STDIN open even if not attached.")
@switch("--privileged", help="Give extended privileges to the command.")
@switch("-t", "--tty", help="Allocate a pseudo-TTY.")
@flag("-u", "--user", help="User name or UID[:group].")
@flag("-w", "--workdir", help="Working directory inside the container.")
@click.argument("container")
@click.argument("command", nargs=-1)
@click.pass_obj
def execute(
    session: Session,
    container: str,
    command: tuple[str, ...],
    detach: bool,
    detach_keys: str,
    env: tuple[str, ...],
    env_file: tuple[str, ...],
    interactive: bool,
    privileged: bool,
    tty: bool,
    user: str,
    workdir: str,
) -> Result:
    """Execute a command in a running container; the value is its exit status.

    With a cell magic, the cell's body is the command's standard input. Interrupting the cell leaves the command
    behind: Docker's API has no way to signal it.
    """
    stdin = interactive or session.door.body() is not None
    foreground.check_terminal(session, tty and stdin and not detach)
    detach_keys, keys = foreground.detach_keys(detach_keys)
    try:
        variables = environment(env_file, env)
    except ValueError as error:
        raise UsageError(str(error)) from error
    engine = session.engine
    body = {
        "User": user,
        "Privileged": privileged,
        "Tty": tty,
        "AttachStdin": stdin and not detach,
        "AttachStdout": not detach,
        "AttachStderr": not detach,
        "DetachKeys": detach_keys,
        "Env": variables,
        "WorkingDir": workdir,
        "Cmd": list(command),
    }
    if tty and session.door.is_terminal:
        body["ConsoleSize"] = list(terminal.size())
    identity = engine.post(f"/containers/{container}/exec", None, body)["Id"]
    if detach:
        engine.post(f"/exec/{identity}/start", None, {"Detach": True, "Tty": tty})
        return Result()
    detached = _stream(session, identity, tty, stdin, keys)
    if detached:
        raise DosirakError(foreground.ESCAPED)
    return _result(session, identity, container)


def _stream(session: Session, identity: str, tty: bool, stdin: bool, keys: bytes) -> bool:
    """Move the command's streams until it ends; return whether the person detached."""
    interactive = tty and stdin and session.door.is_terminal
    source = _source(session, tty) if stdin else None
    numbers = (signal.SIGINT, signal.SIGWINCH) if interactive else (signal.SIGINT,)
    with Interrupts(numbers) as interrupts, contextlib.ExitStack() as cleanup:
        body = {"Detach": False, "Tty": tty}
        stream = session.engine.hijack(f"/exec/{identity}/start", None, body)
        cleanup.callback(stream.close)
        if interactive:
            _resize(session, identity)
            cleanup.enter_context(terminal.raw())
        left = False

        def on_signal(number: int, count: int) -> None:
            nonlocal left
            if number == signal.SIGWINCH:
                _resize(session, identity)
            elif tty and count == 1 and not interactive:
                stream.send(b"\x03")  # what ^C types; the pty makes a SIGINT of it
            else:
                left = True

        pump = Pump(
            stream,
            session.door.sink(),
            interrupts,
            framed=not tty,
            source=source,
            detach_keys=keys if interactive else b"",
            on_signal=on_signal,
            on_tick=lambda: left,
        )
        pump.run()
    if left:
        raise Interrupted("interrupted: the command may still run in the container (see: container top)")
    return pump.detached


def _source(session: Session, tty: bool) -> Input:
    source = session.door.source()
    if tty and source.fd is None:
        source.data += b"\x04" if not source.data or source.data.endswith(b"\n") else b"\x04\x04"
        source.keep_open = True
    return source


def _resize(session: Session, identity: str) -> None:
    rows, columns = terminal.size()
    with contextlib.suppress(DosirakError):  # it may have ended already
        session.engine.post(f"/exec/{identity}/resize", {"h": rows, "w": columns})


def _result(session: Session, identity: str, container: str) -> Result:
    code = int(session.engine.get(f"/exec/{identity}/json").get("ExitCode") or 0)
    return Result(ExitStatus.of(code, container), exit_code=code)
