"""Plans: which stages, images and file systems a Dockerfile needs; argument scopes; configs and histories. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosirak.engine.build.config import DEFAULT_PATH, Config, expand_ports
from dosirak.engine.build.dockerfile import parse
from dosirak.engine.build.errors import DockerfileError
from dosirak.engine.build.graph import Base, Context, CopyFiles, Execute, MakeDirectory
from dosirak.engine.build.plan import Plan, make_plan
from dosirak.engine.build.scope import Platform
from dosirak.engine.build.stages import Stages
from dosirak.engine.errors import EngineError, InvalidRequest, NotSupported

from .strategies import loose, tight

SEVERAL = "When using COPY with more than one source file, the destination must be a directory and end with a /"
AMD64 = Platform("linux", "amd64")
BUSYBOX = Config(env=("PATH=/bin", "BASE=1"), cmd=("sh",), entrypoint=("/entry",), labels={"from": "base"})


def plan(
    text: str,
    args: Mapping[str, str | None] | None = None,
    target: str = "",
    images: Mapping[str, Config] | None = None,
    network: str = "default",
) -> Plan:
    known = {"busybox": BUSYBOX, **(images or {})}
    return make_plan(Stages(parse(text), args or {}, target, AMD64), known, network=network)


def run(made: Plan) -> Execute:
    assert isinstance(made.result, Execute)
    return made.result


def problem(text: str, **options: object) -> str:
    with pytest.raises(DockerfileError) as caught:
        plan(text, **options)  # type: ignore[arg-type]
    assert caught.value.first, "the error knows its line"
    return caught.value.problem


def test_run_stands_on_its_base_with_the_images_settings() -> None:
    made = run(plan("FROM busybox\nENV A=1\nUSER me\nWORKDIR /w\nRUN echo $A\n"))
    assert made.argv == ("/bin/sh", "-c", "echo $A")
    assert made.env == ("PATH=/bin", "BASE=1", "A=1")
    assert (made.cwd, made.user) == ("/w", "me")
    assert isinstance(made.parent, MakeDirectory) and made.parent.user == "me"
    assert isinstance(made.parent.parent, Base) and made.parent.parent.image == "busybox"


def test_only_what_the_target_needs_is_planned() -> None:
    text = (
        "FROM busybox AS a\nRUN a\nFROM busybox AS unused\nRUN b\nFROM a AS c\nRUN c\nFROM scratch\nCOPY --from=c / /\n"
    )
    assert [step.text for step in plan(text).steps] == [
        "FROM busybox AS a",
        "RUN a",
        "FROM a AS c",
        "RUN c",
        "FROM scratch",
        "COPY --from=c / /",
    ]
    assert [step.text for step in plan(text, target="UNUSED").steps] == ["FROM busybox AS unused", "RUN b"]
    assert [step.text for step in plan(text, target="0").steps] == ["FROM busybox AS a", "RUN a"]


def test_unknown_target_suggests() -> None:
    with pytest.raises(InvalidRequest, match=r'target stage "biuld" could not be found \(did you mean build\?\)'):
        plan("FROM busybox AS build\n", target="biuld")


def test_image_of_unused_stage_is_not_asked_for() -> None:
    stages = Stages(parse("FROM nosuch AS a\nFROM busybox\nCOPY --from=other/image:1 x y\n"), {}, "", AMD64)
    assert stages.needed({}) == ([1], {"busybox", "other/image:1"})


def test_stage_name_goes_before_an_image_of_that_name() -> None:
    made = run(plan("FROM busybox AS alpine\nENV X=1\nFROM Alpine\nRUN x\n"))
    assert "X=1" in made.env


def test_copy_sources_are_stages_by_name_or_number_images_or_the_context() -> None:
    text = "FROM busybox AS a\nFROM busybox AS b\nRUN b\nFROM scratch\nCOPY --from={} x /\n"
    by_name, by_number = plan(text.format("B")).result, plan(text.format("1")).result
    assert isinstance(by_name, CopyFiles) and isinstance(by_number, CopyFiles)
    assert isinstance(by_name.source, Execute) and isinstance(by_number.source, Execute)
    image = plan(text.format("busybox")).result
    assert isinstance(image, CopyFiles) and isinstance(image.source, Base)
    context = plan("FROM scratch\nCOPY x /\n").result
    assert isinstance(context, CopyFiles) and isinstance(context.source, Context)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("COPY --from=2 x y", "invalid stage index 2"),
        ("COPY --from=later x y", 'cannot copy from stage "later", it needs to be defined before current stage "0"'),
        ("COPY --from=0 x y", 'cannot copy from stage "0", it needs to be defined before current stage "0"'),
        ("COPY --chmod=999 x y", "invalid chmod parameter: '999'. it should be octal string and between 0 and 07777"),
        ("COPY a b c", SEVERAL),
        ("COPY https://x/y /z", "source can't be a URL for COPY"),
        ("ADD --checksum=sha256:1 x y", "checksum requires HTTP(S) or Git sources"),
        ("RUN --network=host x", "RUN --network=host needs the caller's consent: build with --network=host"),
        ("RUN --mount=type=bind,target=/ x", 'invalid mount target "/"'),
        ("WORKDIR $NOPE", "cannot normalize nothing"),
        ("EXPOSE 80-70", "invalid containerPort: 80-70"),
        ("EXPOSE 80/http", 'invalid port: "80/http": invalid proto: http'),
        ("STOPSIGNAL SIGNOPE", "Invalid signal: SIGNOPE"),
        ("ENV A=${B:?needed}", 'failed to process "${B:?needed}": B: needed'),
    ],
)
def test_wrong_instruction_is_refused_with_its_line(line: str, expected: str) -> None:
    assert problem(f"FROM busybox\n{line}\nFROM busybox AS later\n", target="0") == expected


def test_from_with_a_variable_in_from_is_refused() -> None:
    assert problem("FROM busybox\nCOPY --from=$A x y\n").startswith("variable expansion is not supported for --from")


def test_blank_base_is_refused() -> None:
    assert problem("ARG X\nFROM $X\n") == "base name ($X) should not be blank"


@pytest.mark.parametrize("line", ["ADD https://x/y.git /z", "ADD git@x:y /z", "RUN --security=insecure x"])
def test_what_is_not_there_yet_says_so(line: str) -> None:
    with pytest.raises(NotSupported, match="not supported"):
        plan(f"FROM busybox\n{line}\n")


def test_foreign_platform_is_refused_and_ones_own_accepted() -> None:
    plan("FROM --platform=$BUILDPLATFORM busybox\n")
    plan("FROM --platform=linux busybox\n")
    with pytest.raises(NotSupported, match="platform linux/arm64 is not supported"):
        plan("FROM --platform=linux/arm64 busybox\n")


def test_platform_of_a_name_written_wrong_is_told_with_the_right_one() -> None:
    with pytest.raises(DockerfileError) as caught:
        plan("ARG X\nFROM --platform=$BULIDPLATFORM busybox\n")
    assert caught.value.first == 2
    assert caught.value.problem == "empty platform value from expression $BULIDPLATFORM (did you mean BUILDPLATFORM?)"


def test_platform_asked_for_must_be_this_machines() -> None:
    file = parse("FROM busybox\n")
    Stages(file, {}, "", AMD64, "linux/amd64")
    with pytest.raises(NotSupported, match="platform linux/s390x is not supported"):
        Stages(file, {}, "", AMD64, "linux/s390x")


def test_network_of_a_container_is_refused() -> None:
    with pytest.raises(NotSupported, match="container:x is not supported yet"):
        plan("FROM busybox\nRUN x\n", network="container:x")


# -- arguments


def test_global_argument_names_the_base_and_reaches_a_stage_only_by_arg() -> None:
    text = "ARG IMAGE=busy\nARG FULL=${IMAGE}box\nFROM $FULL\nRUN a\nARG FULL\nARG IMAGE=own\nRUN b\n"
    made = run(plan(text))
    assert isinstance(made.parent, Execute)
    assert "FULL=busybox" not in made.parent.env
    assert "FULL=busybox" in made.env and "IMAGE=own" in made.env


def test_given_argument_wins_over_defaults_and_unknown_ones_are_told() -> None:
    made = plan("FROM busybox\nARG A=default\nARG B\nRUN x\n", {"A": "given", "C": "1", "D": None})
    assert "A=given" in run(made).env and not any(entry.startswith("B=") for entry in run(made).env)
    assert made.warnings == ("One or more build-args [C D] were not consumed",)


def test_arguments_that_speak_to_the_builder_are_not_told_as_unused() -> None:
    made = plan("FROM busybox\n", {"BUILDKIT_DOCKERFILE_CHECK": "skip=all", "SOURCE_DATE_EPOCH": "0"})
    assert made.warnings == ()


def test_argument_is_unset_before_its_line() -> None:
    made = run(plan("FROM busybox\nENV X=${A:-none}\nARG A=1\nENV Y=$A\nRUN x\n", {"A": "2"}))
    assert "X=none" in made.env and "Y=2" in made.env


def test_later_of_env_and_arg_wins_in_the_build_env_alone_in_the_image() -> None:
    made = plan("FROM busybox\nARG V=arg\nENV V=env\nRUN x\n", {"V": "given"})
    assert "V=env" in run(made).env and "V=env" in made.config.env
    assert "V=given" not in made.config.env


def test_arguments_of_the_base_stage_are_inherited() -> None:
    made = run(plan("FROM busybox AS a\nARG X=1\nFROM a\nRUN x\nFROM busybox\n", target="1"))
    assert "X=1" in made.env


def test_platform_arguments_need_arg_in_a_stage() -> None:
    made = run(plan("FROM busybox\nARG TARGETARCH\nARG TARGETPLATFORM\nARG TARGETSTAGE\nRUN x\n"))
    assert {"TARGETARCH=amd64", "TARGETPLATFORM=linux/amd64", "TARGETSTAGE=default"} <= set(made.env)
    assert not any(entry.startswith("BUILDOS") for entry in made.env)


def test_proxies_reach_run_without_arg_and_without_a_trace() -> None:
    made = plan("FROM busybox\nRUN x\n", {"http_proxy": "http://secret@p"})
    assert run(made).transparent == ("http_proxy=http://secret@p",)
    assert [entry.created_by for entry in made.history] == ["RUN /bin/sh -c x"] and not made.warnings


def test_env_in_one_instruction_sees_the_values_before_it() -> None:
    made = run(plan("FROM busybox\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\nRUN x\n"))
    assert {"abc=bye", "def=hello", "ghi=bye"} <= set(made.env)


# -- documents


def test_lone_document_is_the_shells_script() -> None:
    assert run(plan("FROM busybox\nRUN <<EOF\na $X\nb\nEOF\n")).argv == ("/bin/sh", "-c", "a $X\nb\n")


def test_document_with_an_interpreter_is_a_script_of_its_own() -> None:
    made = run(plan("FROM busybox\nRUN <<S\n#!/usr/bin/env python\nprint()\nS\n"))
    assert made.argv == ("/bin/sh", "-c", "/dev/pipes/S")
    assert made.script == ("S", "#!/usr/bin/env python\nprint()\n")


def test_document_beside_a_command_is_left_to_the_shell() -> None:
    made = run(plan("FROM busybox\nRUN cat <<A <<-B > /x\na\nA\n\tb\n\tB\n"))
    assert made.argv[2] == "cat <<A <<-B > /x\na\nA\n\tb\nB"


def test_copied_document_is_expanded_unless_quoted() -> None:
    made = plan("FROM busybox\nENV V=1\nCOPY <<a <<'b' /d/\n$V \"q\"\na\n$V\nb\n").result
    assert isinstance(made, CopyFiles)
    assert made.contents == (("a", '1 "q"\n'), ("b", "$V\n"))


# -- settings


def test_settings_of_the_image_after_all_instructions() -> None:
    config = plan(
        'FROM busybox\nLABEL a="1" b=2\nEXPOSE 80 443/tcp 53/UDP\nVOLUME ["/d"]\nVOLUME /e /d\nSTOPSIGNAL 9\n'
        "HEALTHCHECK --interval=5s CMD true\nMAINTAINER me\nUSER u:g\nWORKDIR a\nWORKDIR b/../c\nONBUILD RUN x\n"
    ).config
    assert dict(config.labels) == {"from": "base", "a": "1", "b": "2"}
    assert config.exposed_ports == ("443/tcp", "53/udp", "80/tcp")
    assert config.volumes == ("/d", "/e")
    assert (config.stop_signal, config.author, config.user, config.working_dir) == ("9", "me", "u:g", "/a/c")
    assert config.healthcheck is not None and config.healthcheck.test == ("CMD-SHELL", "true")
    assert config.onbuild == ("RUN x",)


def test_callers_labels_win() -> None:
    stages = Stages(parse("FROM busybox\nLABEL a=1 b=1\n"), {}, "", AMD64)
    assert dict(make_plan(stages, {"busybox": BUSYBOX}, {"b": "2"}).config.labels) == {
        "from": "base",
        "a": "1",
        "b": "2",
    }


def test_entrypoint_clears_the_bases_cmd_but_not_ones_own() -> None:
    assert plan('FROM busybox\nENTRYPOINT ["x"]\n').config.cmd is None
    assert plan('FROM busybox\nCMD ["own"]\nENTRYPOINT ["x"]\n').config.cmd == ("own",)
    assert plan("FROM busybox\nCMD []\n").config.cmd == ()
    child = plan('FROM busybox AS a\nCMD ["own"]\nFROM a\nENTRYPOINT ["x"]\n').config
    assert child.cmd is None


def test_shell_form_uses_the_shell_set_before_it() -> None:
    made = plan('FROM busybox\nCMD a\nSHELL ["/bin/bash", "-ec"]\nRUN b\nENTRYPOINT c\n')
    assert made.config.entrypoint == ("/bin/bash", "-ec", "c")
    assert run(made).argv == ("/bin/bash", "-ec", "b")


def test_scratch_has_a_path_and_a_root_to_work_in() -> None:
    config = plan("FROM scratch\nCOPY a b\n").config
    assert (config.env, config.working_dir) == ((DEFAULT_PATH,), "/")


@pytest.mark.parametrize(
    ("directory", "path", "expected"),
    [
        ("", "x", "/x"),
        ("", "/x/", "/x/"),
        ("/w", "x", "/w/x"),
        ("/w", "x/", "/w/x/"),
        ("/w", ".", "/w/"),
        ("/w", "..", "/"),
        ("/w", "../../..", "/"),
        ("/w", "./a/../b/.", "/w/b/"),
        ("/w", "/", "/"),
    ],
)
def test_destinations_are_absolute_and_know_when_they_are_directories(directory: str, path: str, expected: str) -> None:
    workdir = f"WORKDIR {directory}\n" if directory else ""
    made = plan(f"FROM busybox\n{workdir}COPY a {path}\n").result
    assert isinstance(made, CopyFiles) and made.destination == expected


@pytest.mark.parametrize(
    ("spec", "ports"),
    [
        ("80", ("80/tcp",)),
        ("80/", ("80/tcp",)),
        ("80/UDP", ("80/udp",)),
        ("1-3/sctp", ("1/sctp", "2/sctp", "3/sctp")),
        ("127.0.0.1:8080:80", ("80/tcp",)),
        ("0", ("0/tcp",)),
    ],
)
def test_port_specs(spec: str, ports: tuple[str, ...]) -> None:
    assert expand_ports([spec]) == ports


@pytest.mark.parametrize("spec", ["", "/tcp", "x", "80-", "-80", "65536", "1-65536", "80//tcp", "٣"])
def test_wrong_port_specs(spec: str) -> None:
    with pytest.raises(DockerfileError):
        expand_ports([spec])


def test_history_tells_every_step_and_which_made_a_layer() -> None:
    made = plan(
        "ARG G=1\nFROM busybox\nARG A=2 B\nENV E=3\nRUN go\nCOPY --chown=1:2 a b /c/\n"
        'WORKDIR d\nCMD ["x", "y z"]\nEXPOSE 80\n'
    )
    assert [(entry.created_by, entry.vertex is not None) for entry in made.history] == [
        ("ARG A=2 B", False),
        ("ENV E=3", False),
        ("RUN |2 A=2 B= /bin/sh -c go", True),
        ("COPY --chown=1:2 a b /c/", True),
        ("WORKDIR /d", True),
        ('CMD ["x" "y z"]', False),
        ("EXPOSE [80/tcp]", False),
    ]


# -- ONBUILD


def test_triggers_of_the_base_run_first_and_are_gone_afterwards() -> None:
    base = Config(onbuild=("RUN trigger", "COPY --from=helper /a /b"))
    text = "FROM busybox AS helper\nFROM base\nRUN own\n"
    made = plan(text, images={"base": base})
    assert [step.text for step in made.steps] == [
        "FROM busybox AS helper",
        "FROM base",
        "RUN trigger",
        "COPY --from=helper /a /b",
        "RUN own",
    ]
    assert made.config.onbuild == ()


def test_trigger_that_needs_a_further_image_is_found_once_the_base_is_known() -> None:
    stages = Stages(parse("FROM base\n"), {}, "", AMD64)
    assert stages.needed({}) == ([0], {"base"})
    assert stages.needed({"base": Config(onbuild=("COPY --from=more x y",))}) == ([0], {"more"})


@pytest.mark.parametrize("trigger", ["NOPE x", "FROM x", "RUN a\nRUN b", "ONBUILD RUN x", ""])
def test_bad_trigger_is_told_at_the_from_it_came_with(trigger: str) -> None:
    assert "onbuild" in problem("FROM base\n", images={"base": Config(onbuild=(trigger,))}).lower()


# -- any text


@settings(max_examples=300)
@given(st.one_of(loose, tight))
def test_any_text_becomes_a_plan_or_raises_one_of_the_engines_errors(text: str) -> None:
    try:
        made = plan(text, {"a": "1"}, images=dict.fromkeys(("a", "b=c", "*", "80", "/a", "."), BUSYBOX))
    except (EngineError, ValueError) as error:
        assert isinstance(error, EngineError) or "images not resolved" in str(error)
        return
    assert [step.number for step in made.steps] == list(range(1, len(made.steps) + 1))
    assert all(step.vertex is not None for step in made.steps if step.stage)
