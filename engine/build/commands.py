"""RUN, COPY and ADD on their way into the plan: here-documents, destinations, what is refused, the history's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dosirak.engine.build.dockerfile import instructions as typed
from dosirak.engine.build.dockerfile.heredoc import opener
from dosirak.engine.build.errors import DockerfileError
from dosirak.engine.build.modes import parse_mode
from dosirak.engine.build.paths import absolute
from dosirak.engine.build.remote import check_checksum, check_url, is_remote

SCRIPTS = "/dev/pipes"
"""Where a here-document that is a script of its own stands while its RUN step runs."""


def with_heredocs(run: typed.Run) -> tuple[typed.Command, tuple[str, str] | None]:
    """The command with its here-documents: one alone is the shell's script, or a script of its own if it begins
    with `#!`; otherwise the shell gets the text as it was written."""
    if not run.heredocs:
        return run.command, None
    line = run.command.args[0]
    first = run.heredocs[0]
    if opener(line) is None:
        text = "\n".join([line, *(document.content + document.name for document in run.heredocs)])
        return typed.Command((text,), True), None
    if first.text.startswith("#!"):
        return typed.Command((f"{SCRIPTS}/{first.name}",), True), (first.name, first.text)
    return typed.Command((first.text,), True), None


def with_args(argv: Sequence[str], args: Mapping[str, str | None], variables: Mapping[str, str]) -> str:
    """A RUN as the history has it: the arguments it saw in front, counted."""
    seen = [f"{name}={variables.get(name, value or '')}" for name, value in args.items()]
    return " ".join([f"|{len(seen)}", *seen, *argv] if seen else argv)


def destination(directory: str, path: str) -> str:
    """Absolute; with a slash at its end when it has to be a directory."""
    directory_only = path.endswith("/") or path in ("", ".", "..") or path.endswith(("/.", "/.."))
    cleaned = absolute(directory, path)
    return cleaned + "/" if directory_only and cleaned != "/" else cleaned


def unpacks(copy: typed.Copy) -> bool:
    """Whether archives among the sources are unpacked."""
    return isinstance(copy, typed.Add) and copy.unpack is not False


def check_copy(copy: typed.Copy, name: str) -> None:
    """Raises DockerfileError for what a COPY or ADD can't mean, NotSupported for what it can't do yet."""
    if copy.chmod:
        try:
            parse_mode(copy.chmod)
        except ValueError as error:
            raise DockerfileError(str(error)) from error
    if any(not path for path in copy.sources):
        raise DockerfileError(f"{name} sources can not be empty")
    remote = [path for path in copy.sources if is_remote(path)]
    if remote and name == "COPY":
        raise DockerfileError("source can't be a URL for COPY")
    for url in remote:
        check_url(url)
    if isinstance(copy, typed.Add) and copy.checksum:
        if len(copy.sources) > 1:
            raise DockerfileError("checksum can't be specified for multiple sources")
        if not remote:
            raise DockerfileError("checksum requires HTTP(S) or Git sources")
        check_checksum(copy.checksum)
    if len(copy.sources) + len(copy.contents) > 1 and not destination("/", copy.destination).endswith("/"):
        problem = (
            f"When using {name} with more than one source file, the destination must be a directory and end with a /"
        )
        raise DockerfileError(problem)


def copy_history(name: str, copy: typed.Copy) -> str:
    """A COPY or ADD as the history has it."""
    flags = [f"--chown={copy.chown}"] if copy.chown else []
    flags += [f"--chmod={copy.chmod}"] if copy.chmod else []
    flags += ["--parents"] if copy.parents else []
    documents = [f"<<{file.name}" for file in copy.contents]
    return " ".join([name, *flags, *copy.sources, *documents, copy.destination])
