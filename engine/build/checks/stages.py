"""What the stages of a Dockerfile do: variables nobody set, secrets that stay in the image, settings that get lost."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from dosirak.engine.build.checks import rules
from dosirak.engine.build.checks.findings import Findings
from dosirak.engine.build.checks.ignored import LeftOut
from dosirak.engine.build.config import Config, with_default_path
from dosirak.engine.build.dockerfile import instructions as typed
from dosirak.engine.build.dockerfile.ast import Lines
from dosirak.engine.build.dockerfile.expand import Mode, examine, expand, expand_words
from dosirak.engine.build.dockerfile.mounts import parse_mount
from dosirak.engine.build.dockerfile.place import placed
from dosirak.engine.build.stages import SCRATCH, Reference, StageRef, Stages

_SECRET = re.compile(r"(_|^)(apikey|auth|credentials?|key|password|pword|passwd|secret|token)(_|$)", re.IGNORECASE)
_HARMLESS = re.compile(r"(_|^)(public|file|version)(_|$)", re.IGNORECASE)
_ONCE = (typed.Cmd, typed.Entrypoint, typed.Healthcheck)
_ORDINARY = Mode(plain_quotes=True)


@dataclass(slots=True)
class _State:
    """A stage while it is looked through.

    `whole`: all its variables are known, because its base image is here; `declared` are the ARGs it or a stage below
    it has, with a value or without; `last` is where CMD and its like were set last.
    """

    variables: dict[str, str]
    whole: bool
    shell: bool
    declared: set[str] = field(default_factory=set)
    workdir: bool = False
    last: dict[type, Lines] = field(default_factory=dict)

    def child(self) -> _State:
        """What a stage begins with that stands on this one."""
        return _State(dict(self.variables), self.whole, self.shell, set(self.declared), self.workdir)


class Walk:
    """Looks through stages, one after the other in the file's order.

    Parameters: `images` are the configs of the base images that are known; `ignored` are the patterns of the
    context's `.dockerignore`.
    """

    def __init__(self, stages: Stages, images: Mapping[str, Config], ignored: Sequence[str], found: Findings) -> None:
        self._stages = stages
        self._images = images
        self._left_out = LeftOut(ignored)
        self._found = found
        self._mode = Mode(escape=stages.file.escape)
        self._states: dict[int, _State] = {}

    def run(self, indices: Collection[int]) -> None:
        """Looks through these stages. Raises DockerfileError, located, where a variable can't be put in."""
        for index in sorted(indices):
            state = self._states[index] = self._begin(self._stages.bases[index])
            for instruction in self._stages.instructions(index, self._images):
                with placed(self._stages.file, instruction.lines):
                    self._instruction(state, instruction)

    def _begin(self, base: Reference) -> _State:
        if isinstance(base, StageRef):
            return self._states[base.index].child()
        config = Config() if base.name == SCRATCH else self._images.get(base.name)
        env = with_default_path(config or Config()).env
        variables = dict(variable.partition("=")[::2] for variable in env)
        return _State(variables, config is not None, bool(config and config.shell))

    def _instruction(self, state: _State, instruction: typed.Instruction) -> None:
        if isinstance(instruction, _ONCE):
            self._once(state, instruction)
        match instruction:
            case typed.Arg():
                self._declare(state, instruction)
            case typed.Cmd(command=command) | typed.Entrypoint(command=command):
                if command.shell and not state.shell:
                    detail = f"JSON arguments recommended for {_keyword(instruction)} to prevent unintended behavior"
                    self._found.add(rules.JSON_RECOMMENDED, f"{detail} related to OS signals", instruction.lines)
            case typed.Shell():
                state.shell = True
            case typed.Expose(ports=ports):
                self._expose(state, ports, instruction.lines)
            case typed.Run(mounts=mounts):
                for mount in mounts:
                    parse_mount(mount, self._word(state, instruction.lines))
            case _:
                self._expanded(state, instruction)

    def _expanded(self, state: _State, instruction: typed.Instruction) -> None:
        lines = instruction.lines
        match typed.expanded(instruction, self._word(state, lines), self._content(state, lines)):
            case typed.Env(pairs=pairs):
                self._legacy(instruction)
                for pair in pairs:
                    self._secret("ENV", pair.key, lines)
                    state.variables[pair.key] = pair.value
            case typed.Label():
                self._legacy(instruction)
            case typed.Workdir(path=path):
                if not state.workdir and not path.startswith("/"):
                    detail = f'Relative workdir "{path}" can have unexpected results if the base image changes'
                    self._found.add(rules.RELATIVE_WORKDIR, detail, lines)
                state.workdir = True
            case typed.Copy() as copy:
                self._left_out.check(copy, self._found)

    def _word(self, state: _State, lines: Lines) -> typed.Expander:
        return lambda text: self._read(state, text, self._mode, lines)

    def _content(self, state: _State, lines: Lines) -> typed.Expander:
        return lambda text: self._read(state, text, _ORDINARY, lines)

    def _read(self, state: _State, text: str, mode: Mode, lines: Lines) -> str:
        """`text` with its variables put in; those that nobody set are told."""
        word = examine(text, state.variables, mode)
        for name in sorted(word.missing - state.declared) if state.whole and not self._found.full else ():
            hint = self._found.hint(name, state.variables).replace("mean ", "mean $")
            self._found.add(rules.UNDEFINED_VARIABLE, f"Usage of undefined variable '${name}'{hint}", lines)
        return word.text

    def _declare(self, state: _State, arg: typed.Arg) -> None:
        for raw, default in arg.args:
            name = expand(raw, state.variables, self._mode)
            self._secret("ARG", name, arg.lines)
            if default is not None and name not in self._stages.arguments.given:
                self._read(state, default, self._mode, arg.lines)
            value = self._stages.arguments.value(name, default, state.variables)
            if value is not None:
                state.variables[name] = value
            state.declared.add(name)

    def _once(self, state: _State, instruction: typed.Instruction) -> None:
        """Of several CMDs only the last counts: the one before it is told."""
        before = state.last.get(type(instruction))
        if before is not None:
            detail = f"Multiple {_keyword(instruction)} instructions should not be used in the same stage"
            detail += " because only the last one will be used"
            self._found.add(rules.MULTIPLE, detail, before, said_at=instruction.lines)
        state.last[type(instruction)] = instruction.lines

    def _expose(self, state: _State, ports: Sequence[str], lines: Lines) -> None:
        for word in ports:
            for port in expand_words(word, state.variables, self._mode):
                protocol = port.rpartition(":")[2].partition("/")[2]
                if protocol != protocol.lower():
                    detail = f"Defined protocol '{port}' in EXPOSE instruction should be lowercase"
                    self._found.add(rules.EXPOSE_CASING, detail, lines)
                if ":" in port:
                    detail = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
                    self._found.add(rules.EXPOSE_FORMAT, detail, lines)

    def _legacy(self, instruction: typed.Instruction) -> None:
        if isinstance(instruction, typed.Env | typed.Label) and any(pair.legacy for pair in instruction.pairs):
            keyword = _keyword(instruction)
            detail = f'"{keyword} key=value" should be used instead of legacy "{keyword} key value" format'
            self._found.add(rules.LEGACY_PAIR, detail, instruction.lines)

    def _secret(self, keyword: str, name: str, lines: Lines) -> None:
        """Values of ARG and ENV stay in the image, for everybody who has it to read."""
        if _SECRET.search(name) and not _HARMLESS.search(name):
            detail = f'Do not use ARG or ENV instructions for sensitive data ({keyword} "{name}")'
            self._found.add(rules.SECRETS, detail, lines)


def _keyword(instruction: typed.Instruction) -> str:
    return instruction.text.split(maxsplit=1)[0]
