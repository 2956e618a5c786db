"""`%%in` and `%%file-in`: a cell's body as a script in a running container, or as a file there."""

from __future__ import annotations

import io
import posixpath
import shlex
import tarfile
import time
from dataclasses import replace

import click

from dosirak.magics.commands.execute import execute
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import UsageError
from dosirak.magics.files import paths
from dosirak.magics.grammar.flags import Command, flag
from dosirak.magics.grammar.values import ENV

_SHELL = ("/bin/sh", "-eu")
# Interpreters that take a script as an argument: its commands may then read standard input, which is empty.
_INLINE = {"perl": "-e", "ruby": "-e", "node": "-e", "Rscript": "-e"}
_INLINE |= dict.fromkeys(("sh", "bash", "dash", "ash", "zsh", "ksh", "python", "python3"), "-c")
# MAX_ARG_STRLEN of execve(2), less something for the command's own.
_LONGEST = 100_000


@click.command("in", cls=Command, usage="CONTAINER [SHELL [ARG...]]", at_least=1, interspersed=False, body="script")
@flag("-e", "--env", type=ENV, many=True, help="Set an environment variable.")
@flag("-u", "--user", help="User name or UID[:group].")
@flag("-w", "--workdir", help="Working directory inside the container.")
@click.argument("container")
@click.argument("shell", nargs=-1)
@click.pass_context
def inside(
    context: click.Context, container: str, shell: tuple[str, ...], env: tuple[str, ...], user: str, workdir: str
) -> Result:
    """Run the cell's body as a script inside a running container; the value is its exit status.

    By SHELL, else by what its first line names (#!…), else by /bin/sh -eu, which stops at the first failure.
    """
    session: Session = context.obj
    script = session.door.body()
    if script is None:
        raise UsageError("%%in runs the cell's body: write the script below this line", 1)
    command = [*(shell or _shebang(script) or _SHELL)]
    inline = _INLINE.get(posixpath.basename(command[-1] if command[0].endswith("/env") else command[0]))
    if inline and len(script.encode()) < _LONGEST:
        command += [inline, script]
        context.obj = replace(session, door=session.door.without_body())
    else:
        command.append("/dev/stdin")
    given = {"env": env, "user": user, "workdir": workdir}
    done: Result = context.invoke(execute, container=container, command=tuple(command), **given)
    return done


def _shebang(script: str) -> list[str]:
    first = script.lstrip("\n").partition("\n")[0]
    return shlex.split(first[2:]) if first.startswith("#!") else []


@click.command("file-in", cls=Command, usage="[OPTIONS] CONTAINER:PATH", at_least=1, at_most=1, body="file")
@flag("--mode", default="644", help="Permission bits, in octal.")
@click.argument("destination")
@click.pass_obj
def file_in(session: Session, destination: str, mode: str) -> Result:
    """Write the cell's body to a file in a container, running or not; one that is there is replaced."""
    body = session.door.body()
    if body is None:
        raise UsageError("%%file-in writes the cell's body: write it below this line", 1)
    container, path = paths.split_argument(destination)
    folder, name = posixpath.split(path)
    if not container or not name:
        raise UsageError(f"{destination}: not a file in a container; write CONTAINER:PATH", 1)
    try:
        bits = int(mode, 8)
    except ValueError as error:
        raise UsageError(f"--mode {mode}: not an octal number, like 644 or 755", 1) from error
    entry = tarfile.TarInfo(name)
    content = body.encode()
    entry.size, entry.mode, entry.mtime = len(content), bits & 0o7777, int(time.time())
    archive = io.BytesIO()
    with tarfile.TarFile(fileobj=archive, mode="w") as tar:
        tar.addfile(entry, io.BytesIO(content))
    headers = {"Content-Type": "application/x-tar"}
    query = {"path": folder or "/"}
    session.engine.call("PUT", f"/containers/{container}/archive", query, data=archive.getvalue(), headers=headers)
    return Result()
