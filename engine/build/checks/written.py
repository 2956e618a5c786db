"""How a Dockerfile is written: case, names of stages, old forms, comments."""

from __future__ import annotations

from collections.abc import Sequence

from dosirak.engine.build.checks import rules
from dosirak.engine.build.checks.findings import Findings
from dosirak.engine.build.dockerfile import instructions as typed
from dosirak.engine.build.dockerfile.ast import Dockerfile, Node

_RESERVED = ("context", "scratch")


def check_continuations(file: Dockerfile, found: Findings) -> None:
    """Empty lines inside continuations."""
    for remark in file.remarks:
        found.add(rules.EMPTY_CONTINUATION, "Empty continuation line", remark.lines)


def check_node(node: Node, made: typed.Instruction, found: Findings) -> None:
    """What one instruction alone shows."""
    match made:
        case typed.Maintainer():
            detail = "Maintainer instruction is deprecated in favor of using label"
            found.add(rules.MAINTAINER, detail, node.lines)
        case typed.From():
            _check_from(node, found)
            _check_description(node, "FROM", [made.name] if made.name else [], found)
        case typed.Arg():
            _check_description(node, "ARG", [name for name, _ in made.args], found)


def check_stage_names(stages: Sequence[typed.From], found: Findings) -> None:
    """Names that are taken: by the language, or by another stage."""
    known: set[str] = set()
    for base in stages:
        name = base.name
        if name in _RESERVED:
            detail = f'Stage name should not use the same name as reserved stage "{name}"'
            found.add(rules.RESERVED_STAGE, detail, base.lines)
        if name and name in known:
            detail = f'Duplicate stage name "{name}", stage names should be unique'
            found.add(rules.DUPLICATE_STAGE, detail, base.lines)
        known.add(name)


def check_casing(nodes: Sequence[Node], found: Findings) -> None:
    """All keywords in the case of the majority; ARGs before the first FROM neither count nor are counted."""
    first = next((index for index, node in enumerate(nodes) if node.name == "FROM"), len(nodes))
    counted = nodes[first:]
    lower = sum(node.keyword.islower() for node in counted)
    upper = sum(node.keyword.isupper() for node in counted)
    wanted = "lowercase" if lower > upper else "uppercase"
    for node in counted:
        if not (node.keyword.islower() if lower > upper else node.keyword.isupper()):
            detail = f"Command '{node.keyword}' should match the case of the command majority ({wanted})"
            found.add(rules.CONSISTENT_CASING, detail, node.lines)


def _check_from(node: Node, found: Findings) -> None:
    if len(node.args) != 3:
        return
    _, keyword, name = node.args
    if name != name.lower():
        found.add(rules.STAGE_CASING, f"Stage name '{name}' should be lowercase", node.lines)
    # a FROM that is neither upper nor lower case is the other rule's affair
    matches = not node.keyword.isupper() or keyword.isupper()
    matches &= not node.keyword.islower() or keyword.islower()
    if not matches:
        detail = f"'{keyword}' and '{node.keyword}' keywords' casing do not match"
        found.add(rules.FROM_AS_CASING, detail, node.lines)


def _check_description(node: Node, keyword: str, names: Sequence[str], found: Findings) -> None:
    if not node.comments or not names or node.comments[-1].split(" ")[0] in names:
        return
    example = names[0] if len(names) == 1 else "<arg_key>"
    detail = f"Comment for {keyword} should follow the format: `# {example} <description>`"
    found.add(rules.DEFINITION, detail, node.lines)
