"""The magics as IPython sees them: `%container`, `%image`, `%network`, `%volume`, `%system`, `%docker`, …

Light on purpose: what a magic needs is imported when it is first used.
"""

from __future__ import annotations

from typing import Any

from IPython.core.magic import (
    Magics,
    cell_magic,
    line_cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from dosirak.magics.doors import Door


_OURS = "dosirak_describes"


@magics_class
class DosirakMagics(Magics):
    """Containers in a notebook. Each magic's `--help` lists its commands, each command's `--help` its flags."""

    @needs_local_scope
    @no_var_expand
    @line_cell_magic
    def container(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        """Run and manage containers.

        ``%container run --rm dosirak/host echo hello``    output in the cell, value: the exit status
        ``c = %container run -d -p 8080:80 NAME``           value: the container; show it to see its ports
        ``%%container run --rm -i NAME python3 -``          the cell's body is its standard input
        ``%container ps -a``                                value: a DataFrame
        ``%container logs -f NAME``, ``exec``, ``stop``, ``rm``, ``inspect``, ``top``, …

        ``%container`` alone lists all commands, ``%container run --help`` the flags of one.
        ``{expression}`` and ``$name`` put Python values in, safely quoted.
        """
        return self._run("container", line, cell, local_ns)

    @needs_local_scope
    @no_var_expand
    @line_cell_magic
    def image(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        """Manage images.

        ``%image ls``                    value: a DataFrame; SIZE is in bytes
        ``%image history NAME``          what made it, step by step
        ``%image load -i FILE``          from an archive; ``import`` for a plain root file system
        ``%image rm NAME``, ``tag``, ``inspect``, ``pull``, ``build``
        """
        return self._run("image", line, cell, local_ns)

    @needs_local_scope
    @no_var_expand
    @line_magic
    def network(self, line: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Look at networks: ``%network ls``, ``%network inspect bridge``. See also ``%topology``."""
        return self._run("network", line, None, local_ns)

    @needs_local_scope
    @no_var_expand
    @line_magic
    def volume(self, line: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Manage volumes: ``%volume create data``, ``ls``, ``inspect``, ``rm``, ``prune``."""
        return self._run("volume", line, None, local_ns)

    @needs_local_scope
    @no_var_expand
    @line_magic
    def registry(self, line: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Log in to registries, or be one.

        ``%registry login -u NAME SERVER``   asks for the password; ``logout``
        ``%registry serve --host 0.0.0.0``   shares this engine's images with a classroom; ``stop``
        ``%registry ls``                     value: a DataFrame
        """
        return self._run("registry", line, None, local_ns)

    @needs_local_scope
    @no_var_expand
    @line_magic
    def system(self, line: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Look at the engine: ``%system info``, ``df``, ``events --since 10m``, ``prune``."""
        return self._run("system", line, None, local_ns)

    @needs_local_scope
    @no_var_expand
    @line_cell_magic
    def docker(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        """Type docker's command lines: ``%docker run …``, ``%docker ps -a``, ``%docker build -t NAME .``, ….

        The same commands, flags, columns and messages as the docker command, on Dosirak's own engine (or the one
        that DOCKER_HOST names), and with Python values as results.

        ``%%docker`` alone runs a tutorial's page, pasted as it is: prompts, continued lines, pipes,
        ``$(docker ps -aq)`` and other shell lines. It stops at the first command that fails, unless told to
        ``--keep-going``.
        """
        return self._run("docker", line, cell, local_ns)

    @needs_local_scope
    @no_var_expand
    @line_magic
    def dosirak(self, line: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Look after Dosirak itself: ``%dosirak status``, ``%dosirak version``."""
        return self._run("dosirak", line, None, local_ns)

    @needs_local_scope
    @no_var_expand
    @line_magic
    def topology(self, line: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Draw the running system: bridges, veth pairs, containers, addresses, published ports.

        ``%topology`` draws everything, ``%topology web db`` these containers and what they hang on.
        """
        return self._run("topology", line, None, local_ns)

    @needs_local_scope
    @no_var_expand
    @line_magic
    def layers(self, line: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Show an image layer by layer: sizes, instructions, files added, changed and deleted, wasted space.

        ``%layers NAME`` draws it, ``%layers NAME /etc/passwd`` also tells which layer the file comes from. The value's
        ``frame()`` is a DataFrame.
        """
        return self._run("layers", line, None, local_ns)

    @needs_local_scope
    @no_var_expand
    @line_cell_magic
    def dockerfile(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        """Build an image; the cell's body is the Dockerfile, the value is the image.

        ``%%dockerfile -t NAME [CONTEXT] [flags]``: the context (what COPY sees) is the notebook's folder unless
        given; its ``.dockerignore`` is honoured. Flags are those of ``docker build``: ``--build-arg``, ``--target``,
        ``--no-cache``, ``--label``, ``--network``, …. ``--check`` only tells what is wrong with it. Tab completes
        instructions, flags, stages and images; a line ``RUN?`` explains an instruction.
        """
        return self._run("dockerfile", line, cell, local_ns)

    @needs_local_scope
    @no_var_expand
    @cell_magic("in")  # type: ignore[arg-type]
    def inside(self, line: str, cell: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Run the cell's body as a script inside a running container: ``%%in NAME [SHELL…]``.

        By SHELL, else by what a first line like ``#!/usr/bin/env python3`` names, else by ``/bin/sh -eu``.
        ``-e``, ``-u`` and ``-w`` as for ``docker exec``; the value is the exit status.
        """
        return self._run("in", line, cell, local_ns)

    @needs_local_scope
    @no_var_expand
    @cell_magic("file-in")  # type: ignore[arg-type]
    def file_in(self, line: str, cell: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Write the cell's body to a file in a container: ``%%file-in NAME:/path``; ``--mode 755``."""
        return self._run("file-in", line, cell, local_ns)

    def _run(self, name: str, line: str, cell: str | None, local: dict[str, Any] | None) -> Any:
        from dosirak.magics.cell import run

        shell: Any = self.shell
        names = {**shell.user_ns, **(local or {})}
        return run(name, line, cell, names, self._door)

    def _door(self, body: str | None) -> Door:
        from dosirak.magics.streams.terminal import is_terminal

        if type(self.shell).__name__ == "TerminalInteractiveShell" and is_terminal():
            from dosirak.magics.doors.terminal import Terminal

            return Terminal(body)
        from dosirak.magics.doors.notebook import Notebook

        return Notebook(body)


def register(shell: InteractiveShell) -> None:
    """Add the magics to `shell`, and what a `%%dockerfile` cell answers to Tab and Shift-Tab."""
    shell.register_magics(DosirakMagics)
    completer: Any = shell.Completer
    matchers = getattr(completer, "custom_matchers", None)
    if matchers is not None and _dockerfile_matcher not in matchers:
        matchers.append(_dockerfile_matcher)
    if not hasattr(shell.object_inspect_mime, _OURS):
        _add_help(shell)


def _add_help(shell: Any) -> None:
    """Let the notebook's tooltip explain a Dockerfile's instructions, where the name means nothing else."""
    inspect = shell.object_inspect_mime

    def inspect_or_describe(oname: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return inspect(oname, *args, **kwargs)
        except KeyError:
            from dosirak.magics.dockerfiles.notebook import inspected

            if (found := inspected(oname)) is None:
                raise
            return found

    setattr(inspect_or_describe, _OURS, True)
    shell.object_inspect_mime = inspect_or_describe


def _dockerfile_matcher(context: Any) -> Any:
    """Complete a `%%dockerfile` cell; every other cell is left to IPython."""
    if not context.full_text.startswith("%%dockerfile"):
        return {"completions": []}
    from dosirak.magics.dockerfiles.notebook import matches

    return matches(context)


# What IPython's decorator `context_matcher` sets, without importing the completer.
_dockerfile_matcher.matcher_api_version = 2  # type: ignore[attr-defined]
_dockerfile_matcher.matcher_priority = 1000  # type: ignore[attr-defined]
_dockerfile_matcher.matcher_identifier = "dosirak.dockerfile"  # type: ignore[attr-defined]
