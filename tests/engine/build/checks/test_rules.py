"""Build checks: files that break a rule and files that keep it, with what is told and where (BuildKit's own cases)."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given

from dosirak.engine.build.checks import RULES, Report, Setting, examine
from dosirak.engine.build.config import Config
from dosirak.engine.build.dockerfile.ast import Lines
from dosirak.engine.build.scope import Platform

from ..strategies import loose, tight

HERE = Platform("linux", "amd64")
KNOWN = {"busybox": Config(env=("PATH=/bin",)), "shelled": Config(shell=("/bin/bash", "-c"))}


def look(text: str, args: dict[str, str | None] | None = None, ignored: str = "", target: str = "") -> Report:
    return examine(text, "Dockerfile", Setting(HERE, args or {}, target, KNOWN, tuple(ignored.split())))


def told(report: Report) -> list[str]:
    """`LINE Rule detail` of each finding."""
    return [f"{found.lines.first} {found.rule.name} {found.detail}" for found in report.findings]


JSON = "to prevent unintended behavior related to OS signals"
LAST = "instructions should not be used in the same stage because only the last one will be used"
WRITTEN = [
    ("FROM scratch AS Bad\n", "1 StageNameCasing Stage name 'Bad' should be lowercase"),
    ("FROM scratch as b\n", "1 FromAsCasing 'as' and 'FROM' keywords' casing do not match"),
    ("from scratch AS b\n", "1 FromAsCasing 'AS' and 'from' keywords' casing do not match"),
    ("from scratch as b\n", ""),
    ("FROM scratch\nCOPY a \\\n\n.\n", "4 NoEmptyContinuation Empty continuation line"),
    ("FROM scratch\nCOPY a \\\n # said\n.\n", ""),
    (
        "From scratch as b\nFROM scratch\n",
        "1 ConsistentInstructionCasing Command 'From' should match the case of the command majority (uppercase)",
    ),
    (
        "from scratch\nCOPY a b\ncopy a b\n",
        "2 ConsistentInstructionCasing Command 'COPY' should match the case of the command majority (lowercase)",
    ),
    (
        "FROM scratch\ncopy a b\n",
        "2 ConsistentInstructionCasing Command 'copy' should match the case of the command majority (uppercase)",
    ),
    ("arg A\nFROM scratch\n", ""),
    (
        "FROM scratch AS b\nFROM scratch AS b\n",
        '2 DuplicateStageName Duplicate stage name "b", stage names should be unique',
    ),
    (
        "FROM scratch AS context\n",
        '1 ReservedStageName Stage name should not use the same name as reserved stage "context"',
    ),
    (
        "FROM scratch\nMAINTAINER me\n",
        "2 MaintainerDeprecated Maintainer instruction is deprecated in favor of using label",
    ),
    ("FROM scratch\nCMD run me\n", f"2 JSONArgsRecommended JSON arguments recommended for CMD {JSON}"),
    ("FROM scratch\nENTRYPOINT me\n", f"2 JSONArgsRecommended JSON arguments recommended for ENTRYPOINT {JSON}"),
    ('FROM scratch\nSHELL ["/bin/x"]\nCMD me\n', ""),
    ('FROM scratch AS a\nSHELL ["/bin/x"]\nFROM a\nCMD me\n', ""),
    ("FROM shelled\nCMD me\n", ""),
    (
        "FROM scratch\nENV a b\n",
        '2 LegacyKeyValueFormat "ENV key=value" should be used instead of legacy "ENV key value" format',
    ),
    (
        "FROM scratch\nLABEL a b\n",
        '2 LegacyKeyValueFormat "LABEL key=value" should be used instead of legacy "LABEL key value" format',
    ),
    (
        'FROM scratch\nCMD ["a"]\nWORKDIR /x\nCMD ["b"]\n',
        f"2 MultipleInstructionsDisallowed Multiple CMD {LAST}",
    ),
    (
        "FROM scratch\nHEALTHCHECK NONE\nHEALTHCHECK NONE\n",
        f"2 MultipleInstructionsDisallowed Multiple HEALTHCHECK {LAST}",
    ),
    ('FROM scratch AS a\nCMD ["a"]\nFROM a\nCMD ["b"]\n', ""),
    (
        "FROM scratch\nWORKDIR app/\n",
        '2 WorkdirRelativePath Relative workdir "app/" can have unexpected results if the base image changes',
    ),
    ("FROM scratch AS a\nWORKDIR /app\nFROM a\nWORKDIR sub\n", ""),
    (
        "FROM scratch\nEXPOSE 80/TcP 81/udp\n",
        "2 ExposeProtoCasing Defined protocol '80/TcP' in EXPOSE instruction should be lowercase",
    ),
    (
        "FROM scratch\nEXPOSE [::1]:80:80 81\n",
        "2 ExposeInvalidFormat EXPOSE instruction should not define an IP address or host-port mapping, "
        "found '[::1]:80:80'",
    ),
]
BASES = [
    ("ARG base=scratch\nFROM $base\n", ""),
    ("ARG DEBUG\nFROM scratch${DEBUG}\n", ""),
    ("ARG DEBUG\nFROM scra${DEBUG:-tch}\n", ""),
    ("FROM --platform=$BUILDPLATFORM scratch\n", ""),
    (
        "FROM --platform=$BULIDPLATFORM scratch\n",
        "1 UndefinedArgInFrom FROM argument 'BULIDPLATFORM' is not declared (did you mean BUILDPLATFORM?)",
    ),
    ("ARG tag=1\nFROM busybox:$tag$version\n", "2 UndefinedArgInFrom FROM argument 'version' is not declared"),
    (
        "FROM --platform=${TARGETPLATFORM} scratch\n",
        "1 RedundantTargetPlatform Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the"
        " default behavior",
    ),
    (
        "FROM --platform=linux/amd64 scratch\n",
        '1 FromPlatformFlagConstDisallowed FROM --platform flag should not use constant value "linux/amd64"',
    ),
    ("FROM --platform=linux/amd64 scratch AS my_amd64\n", ""),
    ('ARG V=""\nFROM busybox:stable${V}\n', ""),
]
VARIABLES = [
    ("FROM scratch\nARG foo\nCOPY a${foo} .\n", ""),
    ("FROM scratch AS a\nARG foo=a\nFROM a\nCOPY $foo .\n", ""),
    ("FROM busybox\nRUN echo $anything\n", ""),
    ("FROM busybox\nCOPY $foo .\nARG foo=a\n", "2 UndefinedVar Usage of undefined variable '$foo'"),
    (
        "FROM scratch\nARG DIR_ASSETS=a\nCOPY $DIR_ASSET .\n",
        "3 UndefinedVar Usage of undefined variable '$DIR_ASSET' (did you mean $DIR_ASSETS?)",
    ),
    (
        "FROM scratch\nENV PATH=$PAHT:/x\n",
        "2 UndefinedVar Usage of undefined variable '$PAHT' (did you mean $PATH?)",
    ),
    ("FROM scratch\nCOPY <<E /x\n$foo\nE\n", "2 UndefinedVar Usage of undefined variable '$foo'"),
    ("FROM scratch\nCOPY <<'E' /x\n$foo\nE\n", ""),
    (
        "FROM scratch\nRUN --mount=type=cache,target=/$foo x\n",
        "2 UndefinedVar Usage of undefined variable '$foo'",
    ),
    ("FROM not-here\nCOPY $from_its_environment .\n", ""),
]


@pytest.mark.parametrize(("text", "expected"), [*WRITTEN, *BASES, *VARIABLES])
def test_rule_tells_what_is_wrong_where(text: str, expected: str) -> None:
    report = look(text)
    assert told(report) == [expected] * bool(expected)


@pytest.mark.parametrize(
    ("text", "given", "wrong"),
    [
        ("ARG V\nFROM busybox:$V\n", {"V": "latest"}, "busybox:$V"),
        ("ARG I\nFROM $I\n", {"I": "busybox"}, "$I"),
        ('ARG S="box:"\nFROM busy${S}\n', {"S": "box:latest"}, "busy${S}"),
    ],
)
def test_base_that_is_no_name_without_build_args_is_told(text: str, given: dict[str, str | None], wrong: str) -> None:
    detail = f"Default value for ARG {wrong} results in empty or invalid base image name"
    assert told(look(text, given)) == [f"2 InvalidDefaultArgInFrom {detail}"]


def test_names_that_look_secret_are_told_unless_they_only_name_a_file_or_are_public() -> None:
    text = (
        "FROM scratch\nARG SECRET_PASSPHRASE\nENV password=a secret=b\nARG auth=c PASS=d\nENV git_key=\n"
        "ENV PUBLIC_KEY=\nARG SECRET_FILE\nARG AUTH_VERSION\nENV keyboard=us\n"
    )
    rule = "SecretsUsedInArgOrEnv Do not use ARG or ENV instructions for sensitive data"
    assert told(look(text)) == [
        f'2 {rule} (ARG "SECRET_PASSPHRASE")',
        f'3 {rule} (ENV "password")',
        f'3 {rule} (ENV "secret")',
        f'4 {rule} (ARG "auth")',
        f'5 {rule} (ENV "git_key")',
    ]


@pytest.mark.parametrize(
    ("ignored", "line", "file"),
    [
        ("a", "COPY a .", 'Copy file "a"'),
        ("a", "ADD ./a/b /c", 'Add file "a/b"'),
        ("*", "COPY . .", 'Copy file "."'),
        (".*", "COPY . .", ""),
        ("** !a", "COPY a .", ""),
        ("b", "COPY a .", ""),
        ("a", "COPY --from=busybox a .", ""),
    ],
)
def test_copying_what_the_context_leaves_out_is_told(ignored: str, line: str, file: str) -> None:
    expected = [f"2 CopyIgnoredFile Attempting to {file} that is excluded by .dockerignore"] if file else []
    assert told(look(f"FROM scratch\n{line}\n", ignored=ignored)) == expected


def test_descriptions_of_arguments_and_stages_are_looked_at_when_asked_for() -> None:
    head = "# check=experimental=InvalidDefinitionDescription\n"
    text = "# bar it is\nARG foo\n# base is it\nFROM scratch AS base\n# ha\nARG foo bar\n#\nARG x\n"
    rule = "InvalidDefinitionDescription Comment for"
    assert told(look(head + text)) == [
        f"3 {rule} ARG should follow the format: `# foo <description>`",
        f"7 {rule} ARG should follow the format: `# <arg_key> <description>`",
    ]
    assert told(look(text)) == []


TWO = "FROM scratch as b\ncopy a .\n"


@pytest.mark.parametrize(
    ("directive", "rules", "fails"),
    [
        ("", ["FromAsCasing", "ConsistentInstructionCasing"], False),
        ("#check=skip=all\n", [], False),
        ("# check = skip=all;error=true // because\n", [], False),
        ("# check=skip=FromAsCasing\n", ["ConsistentInstructionCasing"], False),
        ("# check=skip=FromAsCasing,ConsistentInstructionCasing;error=true\n", [], False),
        ("# check=error=true;skip=ConsistentInstructionCasing\n", ["FromAsCasing"], True),
    ],
)
def test_directive_chooses_rules_and_makes_them_errors(directive: str, rules: list[str], fails: bool) -> None:
    report = look(directive + TWO)
    assert [found.rule.name for found in report.findings] == rules
    problem = f"lint violation found for rules: {', '.join(rules)}"
    assert (problem in str(report.error)) == fails == (report.error is not None)


def test_build_argument_goes_before_the_directive() -> None:
    name = "BUILDKIT_DOCKERFILE_CHECK"
    assert told(look("# check=error=true\n" + TWO, {name: "skip=all"})) == []
    report = look("# check=skip=all\n" + TWO, {name: "skip=ConsistentInstructionCasing; error=true"})
    assert "lint violation found for rules: FromAsCasing" in str(report.error)


@pytest.mark.parametrize("option", ["skip", "error=maybe", "sikp=all", "skip=a;nothing"])
def test_directive_without_sense_is_an_error_on_its_line(option: str) -> None:
    report = look(f"# check={option}\nFROM scratch\n")
    assert "dockerfile parse error on line 1: failed to parse check options" in str(report.error)


@pytest.mark.parametrize(
    "text",
    [
        "# check=skip=JSONArgsRecommended\nCMD a\n",
        "# check=skip=MaintainerDeprecated // it is he\nMAINTAINER me\n",
        "# check=skip=all\nENV password a\n",
        "# check=skip=WorkdirRelativePath\nWORKDIR a\n",
        'CMD ["a"]\n# check=skip=MultipleInstructionsDisallowed\nCMD ["b"]\n',
    ],
)
def test_comment_above_an_instruction_spares_it(text: str) -> None:
    assert told(look(f"FROM scratch\n{text}")) == []
    assert told(look(f"FROM scratch\n{text}".replace("check=", "cheek="))) != []


def test_findings_before_an_error_are_told_with_it() -> None:
    report = look("FROM scratch AS Bad\nMAINTAINER me\nBADCMD\n")
    assert [found.rule.name for found in report.findings] == ["StageNameCasing", "MaintainerDeprecated"]
    assert "dockerfile parse error on line 3: unknown instruction: BADCMD" in str(report.error)


def test_only_the_stages_of_a_target_are_looked_through() -> None:
    text = "FROM scratch AS a\nCOPY $x .\nFROM scratch AS b\nCOPY $y .\n"
    assert [found.lines for found in look(text).findings] == [Lines(2, 2), Lines(4, 4)]
    assert [found.lines for found in look(text, target="a").findings] == [Lines(2, 2)]


def test_base_image_of_another_machine_is_told() -> None:
    made_for = {"busybox": Platform("linux", "arm64"), "shelled": HERE}
    setting = Setting(HERE, images=KNOWN, platforms=made_for)
    report = examine("FROM shelled\nFROM busybox\n", "Dockerfile", setting)
    detail = 'Base image busybox was pulled with platform "linux/arm64", expected "linux/amd64" for current build'
    assert told(report) == [f"2 InvalidBaseImagePlatform {detail}"]


def test_each_rule_has_its_page() -> None:
    addresses = {rule.url.rsplit("/", 2)[1] for rule in RULES if rule.explained}
    assert {"json-args-recommended", "from-as-casing", "no-empty-continuation", "undefined-var"} <= addresses
    assert len(addresses) == len(RULES) - 1 == 21
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)+", address) for address in addresses)


def test_hostile_file_is_looked_through_in_reasonable_time() -> None:
    began = time.process_time()
    names = "".join(f"ENV LONG_NAME_{number}=1\n" for number in range(3000))
    uses = "".join(f"COPY $OTHER_NAME_{number} $LONG_NAMES_{number} /\n" for number in range(3000))
    report = look(f"FROM scratch\n{names}{uses}", ignored=" ".join(f"pattern{number}*" for number in range(200)))
    assert len(report.findings) == 1000
    assert time.process_time() - began < 60


@given(loose)
def test_any_text_is_looked_through(text: str) -> None:
    report = look(text)
    assert report.findings or report.error or report.findings == ()


@given(tight)
def test_findings_stand_in_order_and_inside_the_file(text: str) -> None:
    lines = [found.lines.first for found in look(text).findings]
    assert lines == sorted(lines)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines)
