"""What goes wrong, and how it is told: one line to standard error, and to the log that --log names."""

from __future__ import annotations

import os
import time


class Invocation:
    """The command line, and where it wants to hear what went wrong."""

    words: list[str] = []  # noqa: RUF012
    log = ""
    log_format = "text"
    debug = False


class Failure(Exception):
    """A command that can't be done; `status` is the exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def warn(message: str) -> None:
    """Tell what does not stop the command."""
    report(message, "warning", Invocation.log, Invocation.log_format)


def debug(message: str) -> None:
    """Tell what is done, where --debug asks for it."""
    if Invocation.debug:
        report(message, "debug", Invocation.log, Invocation.log_format)


def report(message: str, level: str, log: str, log_format: str) -> None:
    """Tell it. Parameters: `log`: the file's path, or ""; `log_format`: "text" or "json" (runc's logrus forms)."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if log and log_format == "json":
        from dosirak.engine.oci import documents

        line = documents.dumps({"level": level, "msg": message, "time": stamp})
    else:
        quoted = message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        line = f'time="{stamp}" level={level} msg="{quoted}"'
    data = line.encode("utf-8", "surrogateescape") + b"\n"
    if log:
        try:
            fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            os.write(fd, data)
            os.close(fd)
        except OSError:
            pass  # standard error has it
    if level == "debug":
        if not log:
            os.write(2, data)
        return
    said = f"warning: {message}" if level == "warning" else message
    os.write(2, f"dosirak runtime: {said}\n".encode("utf-8", "surrogateescape"))
