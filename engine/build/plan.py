"""Instructions → graph: every needed stage played through, its steps, its file systems, its config. Pure.

`Stages` says what is needed; the caller resolves the images' configs; `make_plan` does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dosirak.engine.build import commands
from dosirak.engine.build.config import Config, apply, with_default_path
from dosirak.engine.build.dockerfile import instructions as typed
from dosirak.engine.build.dockerfile.expand import Mode, expand, expand_words
from dosirak.engine.build.dockerfile.mounts import Mount, parse_mount
from dosirak.engine.build.dockerfile.place import placed
from dosirak.engine.build.errors import DockerfileError
from dosirak.engine.build.graph import Base, Context, CopyFiles, Execute, History, MakeDirectory, Step, Vertex
from dosirak.engine.build.paths import absolute
from dosirak.engine.build.remote import is_remote
from dosirak.engine.build.stages import SCRATCH, ContextRef, Reference, StageRef, Stages
from dosirak.engine.errors import NotSupported


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build will do.

    `steps` in the file's order; `result` is the target's file system, `config` and `history` what its image will say,
    `base` the image it stands on ("": scratch). `warnings` are what the caller should hear of.
    """

    steps: tuple[Step, ...]
    result: Vertex
    config: Config
    history: tuple[History, ...]
    base: str
    warnings: tuple[str, ...]


def make_plan(
    stages: Stages, images: Mapping[str, Config], labels: Mapping[str, str] | None = None, network: str = "default"
) -> Plan:
    """The plan for the target.

    Parameters: `images` has the config of each image that `stages.needed` names; `labels` are the caller's, and win;
    `network` is what the caller chose for RUN. Raises DockerfileError, located; NotSupported.
    """
    planner = _Planner(stages, images, network)
    needed, missing = stages.needed(images)
    if missing:
        raise ValueError(f"images not resolved: {sorted(missing)}")
    for index in needed:
        planner.play(index)
    target = planner.states[stages.target]
    config = replace(target.config, labels={**target.config.labels, **(labels or {})})
    unused = stages.arguments.unused()
    warnings = (f"One or more build-args [{' '.join(unused)}] were not consumed",) if unused else ()
    return Plan(tuple(planner.steps), target.vertex, config, tuple(target.history), target.base, warnings)


@dataclass(slots=True)
class _State:
    """A stage while it is played: its file system, config, variables and the arguments declared in it."""

    vertex: Vertex
    config: Config
    base: str
    variables: dict[str, str] = field(default_factory=dict)
    args: dict[str, str | None] = field(default_factory=dict)
    history: list[History] = field(default_factory=list)

    def child(self) -> _State:
        """The state a stage begins with that stands on this one; triggers are not inherited."""
        config = replace(self.config, onbuild=(), has_cmd=False)
        return _State(self.vertex, config, self.base, dict(self.variables), dict(self.args), list(self.history))


class _Planner:
    def __init__(self, stages: Stages, images: Mapping[str, Config], network: str) -> None:
        self.stages = stages
        self.images = images
        self.network = network
        self.states: dict[int, _State] = {}
        self.steps: list[Step] = []
        self._roots: dict[str, Base] = {}
        self._context = Context()
        self._mode = Mode(escape=stages.file.escape)
        for arg in stages.global_args:
            self.steps.append(Step(len(self.steps) + 1, arg.text, "", arg.lines, None, works=False))

    def play(self, index: int) -> None:
        """Plays one stage; the ones it needs have been played."""
        base = self.stages.stages[index].base
        state = self._begin(self.stages.bases[index])
        self.states[index] = state
        self._step(index, base, state, works=not isinstance(self.stages.bases[index], StageRef))
        for instruction in self.stages.instructions(index, self.images):
            before = state.vertex
            with placed(self.stages.file, instruction.lines):
                self._instruction(index, state, instruction)
            self._step(index, instruction, state, works=state.vertex is not before)

    def _begin(self, base: Reference) -> _State:
        if isinstance(base, StageRef):
            state = self.states[base.index].child()
        elif isinstance(base, ContextRef):
            state = self._unpacked(base.name)
        elif base.name == SCRATCH:
            state = _State(self._root(""), Config(working_dir="/"), "")
        else:
            state = _State(self._root(base.name), replace(self.images[base.name], onbuild=()), base.name)
        state.config = with_default_path(state.config)
        state.variables |= dict(variable.partition("=")[::2] for variable in state.config.env)
        return state

    def _unpacked(self, name: str) -> _State:
        """A stage that stands on a folder: its files, and an image that says nothing."""
        source, said = Context(name), f"FROM {name}"
        vertex = CopyFiles(self._root(""), source, paths=("/",), contents=(), destination="/", instruction="FROM")
        return _State(vertex, Config(working_dir="/"), "", history=[History(said, vertex)])

    def _root(self, image: str) -> Base:
        return self._roots.setdefault(image, Base(image))

    def _step(self, index: int, instruction: typed.Instruction, state: _State, works: bool) -> None:
        title = self.stages.title(index)
        step = Step(len(self.steps) + 1, instruction.text, title, instruction.lines, state.vertex, works)
        self.steps.append(step)

    def _instruction(self, index: int, state: _State, instruction: typed.Instruction) -> None:
        if isinstance(instruction, typed.Arg):
            self._declare(state, instruction)
            return
        instruction = typed.expanded(instruction, self._word(state), self._content(state))
        if isinstance(instruction, typed.Expose):
            words = (word for port in instruction.ports for word in expand_words(port, state.variables, self._mode))
            instruction = replace(instruction, ports=tuple(words))
        if isinstance(instruction, typed.Run):
            self._run(index, state, instruction)
        elif isinstance(instruction, typed.Copy):
            self._copy(index, state, instruction)
        else:
            self._configure(state, instruction)

    def _word(self, state: _State) -> typed.Expander:
        return lambda text: expand(text, state.variables, self._mode)

    def _content(self, state: _State) -> typed.Expander:
        """In a here-document quotes are plain, and the escape character is always the backslash."""
        return lambda text: expand(text, state.variables, Mode(plain_quotes=True))

    def _declare(self, state: _State, arg: typed.Arg) -> None:
        said = []
        for raw, default in arg.args:
            name = expand(raw, state.variables, self._mode)
            value = self.stages.arguments.value(name, default, state.variables)
            if value is not None:
                state.variables[name] = value
            state.args[name] = value
            said.append(name if value is None else f"{name}={value}")
        state.history.append(History(f"ARG {' '.join(said)}", None))

    def _configure(self, state: _State, instruction: typed.Instruction) -> None:
        state.config, said = apply(state.config, instruction)
        if isinstance(instruction, typed.Env):
            state.variables |= {pair.key: pair.value for pair in instruction.pairs}
        layer = None
        if isinstance(instruction, typed.Workdir) and state.config.working_dir != "/":
            layer = state.vertex = MakeDirectory(state.vertex, state.config.working_dir, state.config.user)
        state.history.append(History(said, layer))

    def _run(self, index: int, state: _State, run: typed.Run) -> None:
        command, script = commands.with_heredocs(run)
        argv = state.config.command_line(command)
        network = self._network(run)
        mounts = tuple(self._mount(index, state, text) for text in run.mounts)
        proxies = self.stages.arguments.proxies()
        state.vertex = Execute(
            parent=state.vertex,
            argv=argv,
            env=tuple(f"{name}={value}" for name, value in state.variables.items()),
            transparent=tuple(f"{name}={value}" for name, value in proxies.items() if name not in state.variables),
            cwd=state.config.working_dir or "/",
            user=state.config.user,
            network=network,
            mounts=mounts,
            script=script,
        )
        state.history.append(History(f"RUN {commands.with_args(argv, state.args, state.variables)}", state.vertex))

    def _network(self, run: typed.Run) -> str:
        """A Dockerfile alone may take a step's network away, never give it the host's (CVE-2024-23653)."""
        if run.security != "sandbox":
            raise NotSupported(f"RUN --security={run.security} is not supported")
        if self.network.startswith("container:"):
            raise NotSupported(f"building with --network={self.network} is not supported yet")
        if run.network == "host" and self.network != "host":
            raise DockerfileError("RUN --network=host needs the caller's consent: build with --network=host")
        return self.network if run.network == "default" else run.network

    def _mount(self, index: int, state: _State, text: str) -> tuple[Mount, Vertex | None]:
        mount = parse_mount(text, self._word(state))
        target = mount.target
        if target or mount.kind not in ("secret", "ssh"):
            target = absolute(state.config.working_dir or "/", mount.target)
        if target == "/":
            raise DockerfileError(f'invalid mount target "{mount.target}"')
        source: Vertex | None = None
        if mount.source_stage:
            source = self._source(index, mount.source_stage)
        elif mount.kind == "bind":
            source = self._context
        return replace(mount, target=target), source

    def _source(self, index: int, name: str) -> Vertex:
        reference = self.stages.source(name, index)
        if isinstance(reference, StageRef):
            return self.states[reference.index].vertex
        if isinstance(reference, ContextRef):
            return Context(reference.name)
        return self._root("" if reference.name == SCRATCH else reference.name)

    def _copy(self, index: int, state: _State, copy: typed.Copy) -> None:
        name = "ADD" if isinstance(copy, typed.Add) else "COPY"
        commands.check_copy(copy, name)
        source = self._source(index, copy.source_stage) if copy.source_stage else self._context
        urls = tuple(path for path in copy.sources if name == "ADD" and is_remote(path))
        state.vertex = CopyFiles(
            parent=state.vertex,
            source=source,
            paths=tuple(path for path in copy.sources if path not in urls),
            contents=tuple((file.name, file.content) for file in copy.contents),
            destination=commands.destination(state.config.working_dir or "/", copy.destination),
            instruction=name,
            chown=copy.chown,
            chmod=copy.chmod,
            unpack=commands.unpacks(copy),
            parents=copy.parents,
            excludes=copy.excludes,
            urls=urls,
            checksum=copy.checksum if isinstance(copy, typed.Add) else "",
            unpack_fetched=isinstance(copy, typed.Add) and copy.unpack is True,
        )
        state.history.append(History(commands.copy_history(name, copy), state.vertex))
