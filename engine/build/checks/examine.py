"""A whole Dockerfile looked through: all rules, in the order in which a build would come upon them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from dosirak.engine.build.checks import bases, options, written
from dosirak.engine.build.checks.findings import Findings
from dosirak.engine.build.checks.options import Options
from dosirak.engine.build.checks.rules import Finding
from dosirak.engine.build.checks.stages import Walk
from dosirak.engine.build.config import Config
from dosirak.engine.build.dockerfile import instruction, parse
from dosirak.engine.build.dockerfile import instructions as typed
from dosirak.engine.build.dockerfile.ast import Dockerfile
from dosirak.engine.build.dockerfile.convert import program
from dosirak.engine.build.dockerfile.expand import Mode
from dosirak.engine.build.dockerfile.place import placed
from dosirak.engine.build.errors import DockerfileError
from dosirak.engine.build.scope import Arguments, Platform
from dosirak.engine.build.stages import ImageRef, Stages
from dosirak.engine.errors import EngineError


@dataclass(frozen=True, slots=True)
class Setting:
    """What a Dockerfile is looked at with.

    `args` are the build arguments; `target` a stage ("": all are looked at); `images` the configs of base images that
    are here, `platforms` what those are made for; `ignored` the patterns of the context's `.dockerignore`.
    """

    platform: Platform
    args: Mapping[str, str | None] = field(default_factory=dict)
    target: str = ""
    images: Mapping[str, Config] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    platforms: Mapping[str, Platform] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, by line, and the error that ended the look, if any."""

    findings: tuple[Finding, ...]
    error: EngineError | None = None


def examine(text: str | bytes, filename: str, setting: Setting) -> Report:
    """Looks through a Dockerfile; `filename` names it in errors. Never raises for what stands in it."""
    try:
        file = parse(text, filename)
        chosen = options.of_file(file, setting.args.get(options.ARGUMENT))
    except DockerfileError as error:
        return Report((), error)
    found = Findings(chosen, file.nodes)
    try:
        _check_file(file, setting, found)
        stages = Stages(file, setting.args, setting.target, setting.platform)
        indices = stages.needed(setting.images)[0] if setting.target else range(len(stages.stages))
        _check_platforms(stages, indices, setting, found)
        Walk(stages, setting.images, setting.ignored, found).run(indices)
    except EngineError as error:
        return Report(found.sorted(), error)
    findings = found.sorted()
    return Report(findings, _violation(file, chosen, findings))


def of_build(stages: Stages, needed: Collection[int], setting: Setting) -> Report:
    """What a build tells beside its work: the same, of the stages that it needs. The error is that of `error=true`.

    Raises DockerfileError when the file's own `# check=…` makes no sense.
    """
    chosen = options.of_file(stages.file, setting.args.get(options.ARGUMENT))
    found = Findings(chosen, stages.file.nodes)
    with suppress(EngineError):  # what is an error is the build's to tell
        _check_file(stages.file, setting, found)
        _check_platforms(stages, needed, setting, found)
        Walk(stages, setting.images, setting.ignored, found).run(needed)
    findings = found.sorted()
    return Report(findings, _violation(stages.file, chosen, findings))


def _violation(file: Dockerfile, chosen: Options, findings: tuple[Finding, ...]) -> DockerfileError | None:
    """The error that `error=true` makes of findings, None without either."""
    if not chosen.error or not findings:
        return None
    names = ", ".join(dict.fromkeys(finding.rule.name for finding in findings))
    lines = findings[0].lines
    problem = f"lint violation found for rules: {names}"
    return DockerfileError(problem, lines.first, lines.last, file.filename, file.source)


def _check_file(file: Dockerfile, setting: Setting, found: Findings) -> None:
    """The rules that need no stage to be played. Raises DockerfileError for the first wrong instruction."""
    written.check_continuations(file, found)
    for node in file.nodes:
        with placed(file, node.lines):
            written.check_node(node, instruction(node), found)
    made = program(file)
    written.check_stage_names([stage.base for stage in made.stages], found)
    written.check_casing(file.nodes, found)
    _check_bases(file, made, setting, found)


def _check_bases(file: Dockerfile, made: typed.Program, setting: Setting, found: Findings) -> None:
    mode = Mode(escape=file.escape)
    target = setting.target or made.stages[-1].base.name
    defaults = _globals(file, made, setting, {}, target)
    bases.check_defaults(made.stages, defaults.globals, mode, found)
    arguments = _globals(file, made, setting, setting.args, target)
    declared = frozenset(name for arg in made.args for name, _ in arg.args)
    for stage in made.stages:
        with placed(file, stage.base.lines):
            bases.check_base(stage.base, arguments, declared, mode, found)


def _check_platforms(stages: Stages, indices: Collection[int], setting: Setting, found: Findings) -> None:
    for index in indices:
        base = stages.bases[index]
        if isinstance(base, ImageRef) and (platform := setting.platforms.get(base.name)) is not None:
            bases.check_image(base.name, platform, setting.platform, stages.stages[index].base.lines, found)


def _globals(
    file: Dockerfile, made: typed.Program, setting: Setting, given: Mapping[str, str | None], target: str
) -> Arguments:
    arguments = Arguments(given, setting.platform, target, file.escape)
    for arg in made.args:
        with placed(file, arg.lines):
            arguments.declare_global(arg)
    return arguments
