"""Which stages and images a build needs: names resolved, the target's reach found. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dosirak.engine.build.config import Config
from dosirak.engine.build.dockerfile import instruction, parse
from dosirak.engine.build.dockerfile import instructions as typed
from dosirak.engine.build.dockerfile.ast import Dockerfile
from dosirak.engine.build.dockerfile.convert import program
from dosirak.engine.build.dockerfile.expand import Mode, examine, expand
from dosirak.engine.build.dockerfile.mounts import source_stage
from dosirak.engine.build.dockerfile.place import placed
from dosirak.engine.build.dockerfile.text import suggestion
from dosirak.engine.build.errors import DockerfileError
from dosirak.engine.build.inputs import Folder
from dosirak.engine.build.scope import Arguments, Platform
from dosirak.engine.errors import InvalidRequest, NotSupported
from dosirak.engine.images import platforms

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class StageRef:
    """A reference to another stage, by its index."""

    index: int


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A reference to an image."""

    name: str


@dataclass(frozen=True, slots=True)
class ContextRef:
    """A reference to a named context that is a folder."""

    name: str


Reference = StageRef | ImageRef | ContextRef


class Stages:
    """The file's stages with their names resolved.

    Parameters: `given` are the build arguments; `platform` is this machine's, `wanted` the one that was asked for;
    `contexts` are the named contexts.
    Raises DockerfileError for a FROM that can't be, InvalidRequest for a target that does not exist.
    """

    def __init__(
        self,
        file: Dockerfile,
        given: Mapping[str, str | None],
        target: str,
        platform: Platform,
        wanted: str = "",
        contexts: Mapping[str, Folder | str] | None = None,
    ) -> None:
        self.file = file
        self._contexts = contexts or {}
        program_ = program(file)
        self.stages = program_.stages
        self.global_args = program_.args
        self.target = self._find_target(target)
        name = target or self.stages[-1].base.name
        self.arguments = Arguments(given, platform, name, file.escape)
        for arg in self.global_args:
            with placed(file, arg.lines):
                self.arguments.declare_global(arg)
        self._platform = platform
        self.check_platform(wanted)
        self.bases: list[Reference] = []
        for index, stage in enumerate(self.stages):
            with placed(file, stage.base.lines):
                self.bases.append(self._base(index))

    def title(self, index: int) -> str:
        """The stage's name, or its number."""
        return self.stages[index].base.name or str(index)

    def needed(self, images: Mapping[str, Config]) -> tuple[list[int], set[str]]:
        """The stages the target needs, in the file's order, and the images they need that are not in `images`.

        An image's ONBUILD triggers may need more: so this is asked again when its config is known.
        Raises DockerfileError when a stage needs one that comes after it.
        """
        reached: set[int] = set()
        wanted: set[str] = set()
        waiting = [self.target]
        while waiting:
            index = waiting.pop()
            if index in reached:
                continue
            reached.add(index)
            for reference in [self.bases[index], *self._sources(index, images)]:
                if isinstance(reference, StageRef):
                    waiting.append(reference.index)
                elif isinstance(reference, ImageRef) and reference.name != SCRATCH:
                    wanted.add(reference.name)
        return sorted(reached), wanted - images.keys()

    def instructions(self, index: int, images: Mapping[str, Config]) -> list[typed.Instruction]:
        """What the stage does: its base image's ONBUILD triggers first, then its own instructions."""
        base = self.bases[index]
        triggers: tuple[str, ...] = ()
        if isinstance(base, ImageRef) and base.name in images:
            triggers = images[base.name].onbuild
        place = self.stages[index].base
        return [*(self._trigger(text, place) for text in triggers), *self.stages[index].instructions]

    def source(self, name: str, index: int) -> Reference:
        """What `--from=name` in stage `index` means: a named context, a stage by name or number, else an image.

        Raises DockerfileError when it means a stage that is not before this one.
        """
        if "$" in name:
            raise DockerfileError(
                "variable expansion is not supported for --from, define a new stage with FROM using ARG from global"
                " scope as a workaround"
            )
        if (context := self._context(name)) is not None:
            return context
        found = self._by_number(name) if name.isascii() and name.isdigit() else self._by_name(name, len(self.stages))
        if found is None:
            return ImageRef(name)
        if found >= index:
            here = self.title(index)
            raise DockerfileError(
                f'cannot copy from stage "{name}", it needs to be defined before current stage "{here}"'
            )
        return StageRef(found)

    def _sources(self, index: int, images: Mapping[str, Config]) -> list[Reference]:
        """The stages and images that the stage takes files from."""
        references: list[Reference] = []
        for made in self.instructions(index, images):
            names = [made.source_stage] if isinstance(made, typed.Copy) else []
            if isinstance(made, typed.Run):
                names = [source_stage(mount) for mount in made.mounts]
            with placed(self.file, made.lines):
                references += [self.source(name, index) for name in names if name]
        return references

    def _base(self, index: int) -> Reference:
        base = self.stages[index].base
        mode = Mode(escape=self.file.escape)
        name = expand(base.base, self.arguments.globals, mode)
        if not name:
            raise DockerfileError(f"base name ({base.base}) should not be blank")
        if base.platform:
            self.check_platform(self._platform_of(base.platform, mode))
        if (context := self._context(name)) is not None:
            return context
        found = self._by_name(name, index)
        return ImageRef(name) if found is None else StageRef(found)

    def _platform_of(self, text: str, mode: Mode) -> str:
        """What a FROM's `--platform` says, variables put in; none at all is most often a name written wrong."""
        word = examine(text, self.arguments.globals, mode)
        if not word.text:
            hints = (suggestion(name, self.arguments.globals) for name in sorted(word.missing))
            raise DockerfileError(f"empty platform value from expression {text}{next(filter(None, hints), '')}")
        return word.text

    def _context(self, name: str) -> Reference | None:
        plain = name.lower().removesuffix(":latest")
        found = self._contexts.get(plain)
        if found is None:
            return None
        return ImageRef(found) if isinstance(found, str) else ContextRef(plain)

    def check_platform(self, wanted: str) -> None:
        """Raises NotSupported unless `wanted` ("": any) is this machine's platform, or a part of it ("linux")."""
        asked, here = platforms.parse(wanted), self._platform
        if asked is not None and (asked.os, asked.architecture, asked.variant) != (here.os, here.architecture, ""):
            raise NotSupported(f"platform {wanted} is not supported: this engine builds for {here} only")

    def _by_name(self, name: str, before: int) -> int | None:
        """The last stage of that name before stage `before`."""
        names = [stage.base.name for stage in self.stages[:before]]
        lowered = name.lower()
        return max((index for index, known in enumerate(names) if known == lowered), default=None)

    def _by_number(self, digits: str) -> int:
        if len(digits) > 6 or int(digits) >= len(self.stages):
            raise DockerfileError(f"invalid stage index {digits}")
        return int(digits)

    def _find_target(self, target: str) -> int:
        if not target:
            return len(self.stages) - 1
        found = self._by_name(target, len(self.stages))
        if found is None and target.isascii() and target.isdigit() and len(target) < 7:
            found = int(target) if int(target) < len(self.stages) else None
        if found is None:
            names = [stage.base.name for stage in self.stages if stage.base.name]
            raise InvalidRequest(f'target stage "{target}" could not be found{suggestion(target.lower(), names)}')
        return found

    def _trigger(self, text: str, place: typed.From) -> typed.Instruction:
        """An ONBUILD trigger as an instruction that stands where the FROM stands."""
        with placed(self.file, place.lines):
            try:
                nodes = parse(text, place.base).nodes
                made = instruction(nodes[0])
            except DockerfileError as error:
                raise DockerfileError(f"ONBUILD trigger of the base image: {text}: {error.problem}") from error
            if len(nodes) != 1 or isinstance(made, typed.From | typed.OnBuild):
                raise DockerfileError(f"onbuild trigger should be a single expression: {text}")
        return replace(made, lines=place.lines)
