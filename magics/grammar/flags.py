"""click commands that read their arguments as the docker CLI (spf13/pflag, cobra) does.

What differs from click's own reading: `-p=80` and `-p80`, `--rm=false`, flags that end at the first argument for
`run` and `exec`, unknown commands and flags in Docker's words with a suggestion, and the exit status 125.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dosirak.magics.errors import NotSupported, UsageError, suggestion
from dosirak.magics.grammar.values import ParamType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class Switch(ParamType):
    """A boolean as Go's strconv.ParseBool reads it."""

    name = "switch"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bool:
        """Return the boolean; fail with Go's words."""
        if isinstance(value, bool):
            return value
        if value in TRUE or value in FALSE:
            return value in TRUE
        failure = click.BadParameter(f'strconv.ParseBool: parsing "{value}": invalid syntax', ctx, param)
        failure.value = value  # type: ignore[attr-defined]
        raise failure


SWITCH = Switch()


class Flag(click.Option):
    """An option as pflag has it: always with a value inside, which a switch may leave out on the command line."""

    @property
    def switch(self) -> bool:
        """Whether the flag may stand without a value."""
        return isinstance(self.type, Switch)

    @property
    def long(self) -> str:
        """The spelling that messages and help name first, `--name`."""
        return next((o for o in self.opts if o.startswith("--")), self.opts[0])

    @property
    def title(self) -> str:
        """Both spellings as pflag writes them in messages: `-p, --publish`."""
        short = next((o for o in self.opts if not o.startswith("--")), None)
        return f"{short}, {self.long}" if short else self.long

    def make_metavar(self, *args: Any, **kwargs: Any) -> str:
        """Return nothing for a switch, so that help does not ask for a value."""
        return "" if self.switch else super().make_metavar(*args, **kwargs)


def flag(*names: str, help: str, type: Any = str, many: bool = False, **more: Any) -> Callable[[Any], Any]:
    """Declare a flag with a value; `many` collects each time it is given."""
    default = more.pop("default", None if many or type is not str else "")
    return click.option(*names, cls=Flag, type=type, multiple=many, help=help, default=default, **more)


def switch(*names: str, help: str, default: bool = False, **more: Any) -> Callable[[Any], Any]:
    """Declare a boolean flag."""
    return click.option(*names, cls=Flag, type=SWITCH, help=help, default=default, **more)


class Command(click.Command):
    """One command, read as pflag reads it.

    Parameters: `usage` is what follows the command's name in its help; `at_least` and `at_most` bound the number of
    arguments; `interspersed` false ends the flags at the first argument (what follows belongs to the container);
    `body` names what a cell's body is for this command ("stdin", "dockerfile") or is empty when it takes none.
    """

    def __init__(
        self,
        *args: Any,
        usage: str = "",
        at_least: int = 0,
        at_most: int | None = None,
        interspersed: bool = True,
        body: str = "",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("add_help_option", False)
        super().__init__(*args, **kwargs)
        self.usage_text = usage
        self.at_least = at_least
        self.at_most = at_most
        self.interspersed = interspersed
        self.body = body
        # pflag's -h is --hostname for run, so help has no letter there.
        taken = {name for param in self.params for name in param.opts}
        names = ("-h", "--help") if "-h" not in taken else ("--help",)
        self.params.append(
            Flag(names, type=SWITCH, is_eager=True, expose_value=False, callback=_help, help="Show this.")
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read `args` into `ctx`; raises UsageError in Docker's words."""
        reader = _Reader(self, ctx.command_path)
        reader.read(args)
        if "--help=true" not in reader.flags:
            self._check_count(ctx, reader.arguments)
        try:
            return super().parse_args(ctx, [*reader.flags, "--", *reader.arguments])
        except click.BadParameter as error:
            raise _bad_value(error) from error
        except click.UsageError as error:
            raise UsageError(error.format_message()) from error

    def _check_count(self, ctx: click.Context, arguments: Sequence[str]) -> None:
        count, path = len(arguments), ctx.command_path
        if self.at_most == 0 and count:
            raise UsageError(f"'{path}' accepts no arguments{self._usage_hint(ctx)}", 1)
        if self.at_least == self.at_most and count != self.at_least:
            raise UsageError(f"'{path}' requires {_arguments(self.at_least)}{self._usage_hint(ctx)}", 1)
        if count < self.at_least:
            raise UsageError(f"'{path}' requires at least {_arguments(self.at_least)}{self._usage_hint(ctx)}", 1)
        if self.at_most is not None and count > self.at_most:
            raise UsageError(f"'{path}' requires at most {_arguments(self.at_most)}{self._usage_hint(ctx)}", 1)

    def _usage_hint(self, ctx: click.Context) -> str:
        return f" (usage: {ctx.command_path} {self.usage_text})" if self.usage_text else ""

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the help's first clause, for lists of commands."""
        return short_help(self)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return Docker's usage, `[OPTIONS] IMAGE [COMMAND] [ARG...]`."""
        return [self.usage_text]


class Group(click.Group):
    """A management command. Its commands are loaded when they are used: `loaders` maps a name to "module:attribute".

    Parameters: `planned` maps commands that Docker has and Dosirak lacks to why, for one clear line.
    """

    def __init__(
        self,
        *args: Any,
        loaders: dict[str, str] | None = None,
        planned: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("add_help_option", False)
        kwargs.setdefault("options_metavar", "")
        kwargs.setdefault("subcommand_metavar", "COMMAND")
        super().__init__(*args, **kwargs)
        self.loaders = dict(loaders or {})
        self.planned = dict(planned or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names that help lists: of several names of one command, the first."""
        first = {target: name for name, target in reversed(self.loaders.items())}
        return sorted({*self.commands, *first.values()} - (self.loaders.keys() - first.values()))

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the help's first clause, for lists of commands."""
        return short_help(self)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, and the groups of commands apart."""
        commands: list[tuple[str, str]] = []
        groups: list[tuple[str, str]] = []
        for name in self.list_commands(ctx):
            found = self.get_command(ctx, name)
            if found is not None and not found.hidden:
                (groups if isinstance(found, click.Group) else commands).append((name, found.get_short_help_str()))
        for title, rows in (("Management commands", groups), ("Commands", commands)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        formatter.write(f"\nRun '{ctx.command_path} COMMAND --help' for more about a command.\n")

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, importing its module when it is the first time."""
        found = super().get_command(ctx, cmd_name)
        if found is None and cmd_name in self.loaders:
            found = load(self.loaders[cmd_name])
            self.add_command(found, cmd_name)
        return found

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the command's name; without one, or with --help, show the overview."""
        if not args or args[0] in ("--help", "-h"):
            click.echo(self.get_help(ctx))
            ctx.exit()
        if args[0].startswith("-"):
            raise UsageError(f"unknown flag: {args[0]}{suggestion(args[0], ('--help',))}")
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command `args` names; raises UsageError with a suggestion, NotSupported for what is planned."""
        name = args[0]
        command = self.get_command(ctx, name)
        if command is not None:
            return name, command, args[1:]
        if name in self.planned:
            raise NotSupported(f"{ctx.command_path} {name}: not supported by Dosirak {self.planned[name]}".rstrip())
        near = suggestion(name, {*self.commands, *self.loaders})
        raise UsageError(f"unknown command: {ctx.command_path} {name}{near}", 1)


def short_help(command: click.Command) -> str:
    """Return what a command does, without what it yields."""
    text = " ".join((command.help or "").split("\n\n")[0].split())
    return text.partition(";")[0].partition(": ")[0].partition(". ")[0].rstrip(".")


def load(target: str) -> click.Command:
    """Import "module:attribute", the module named relative to `dosirak`."""
    from importlib import import_module

    module, _, attribute = target.partition(":")
    command: click.Command = getattr(import_module(f"dosirak.{module}"), attribute)
    return command


class _Reader:
    """Reads a command line into click's terms: `--long=value` for each flag, and the arguments."""

    def __init__(self, command: Command, path: str) -> None:
        self.path = path
        self.flags: list[str] = []
        self.arguments: list[str] = []
        self._interspersed = command.interspersed
        self._known = {name: p for p in command.params if isinstance(p, Flag) for name in p.opts}

    def read(self, args: Sequence[str]) -> None:
        left = iter(args)
        for arg in left:
            if arg == "--":
                self.arguments += left
            elif arg.startswith("--"):
                self._long(arg, left)
            elif arg.startswith("-") and len(arg) > 1:
                self._short(arg, left)
            else:
                self.arguments.append(arg)
                if not self._interspersed:
                    self.arguments += left

    def _long(self, arg: str, left: Iterator[str]) -> None:
        name, equals, value = arg.partition("=")
        option = self._known.get(name)
        if option is None:
            near = suggestion(name, (n for n, o in self._known.items() if n.startswith("--") and not o.hidden))
            raise UsageError(f"unknown flag: {name}{near}")
        if not equals:
            value = "true" if option.switch else self._next(left, name)
        self._add(option, value)

    def _short(self, arg: str, left: Iterator[str]) -> None:
        letters = arg[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            option = self._known.get(f"-{letter}")
            if option is None:
                near = suggestion(f"-{arg}", (n for n in self._known if n.startswith("--"))) if len(arg) > 2 else ""
                raise UsageError(f"unknown shorthand flag: '{letter}' in {arg}{near}")
            if letters.startswith("="):
                return self._add(option, letters[1:])
            if option.switch:
                self._add(option, "true")
                continue
            return self._add(option, letters or self._next(left, f"'{letter}' in {arg}"))
        return None

    def _next(self, left: Iterator[str], name: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise UsageError(f"flag needs an argument: {name}") from None

    def _add(self, option: Flag, value: str) -> None:
        self.flags.append(f"{option.opts[-1] if option.opts[-1].startswith('--') else option.long}={value}")


def _bad_value(error: click.BadParameter) -> UsageError:
    title = error.param.title if isinstance(error.param, Flag) else str(error.param_hint or "argument")
    value = getattr(error, "value", None)
    shown = f'"{value}"' if value is not None else "value"
    return UsageError(f'invalid argument {shown} for "{title}" flag: {error.message}')


def _arguments(count: int) -> str:
    return "1 argument" if count == 1 else f"{count} arguments"


def _help(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(ctx.get_help())
        ctx.exit()
