"""AST → typed instructions: what each instruction becomes, and every way it can be wrong."""

from __future__ import annotations

import pytest

from dosirak.engine.build.dockerfile import instructions as typed
from dosirak.engine.build.dockerfile import parse, program
from dosirak.engine.build.dockerfile.duration import parse_duration
from dosirak.engine.build.dockerfile.mounts import Mount, parse_mount
from dosirak.engine.build.errors import DockerfileError


def one(line: str) -> typed.Instruction:
    """The instruction on line 2 of a file."""
    return program(parse(f"FROM scratch\n{line}\n")).stages[0].instructions[0]


def problem(line: str) -> str:
    with pytest.raises(DockerfileError) as caught:
        program(parse(f"FROM scratch\n{line}\n"))
    assert caught.value.first == 2
    return caught.value.problem


def test_stages_begin_at_from_and_arguments_before_it_are_the_files() -> None:
    file = program(parse("ARG A\nARG B=1 C\nFROM a AS One\nRUN x\nFROM --platform=linux/amd64 b\n"))
    assert [arg.args for arg in file.args] == [(("A", None),), (("B", "1"), ("C", None))]
    assert [(stage.base.base, stage.base.name, stage.base.platform) for stage in file.stages] == [
        ("a", "one", ""),
        ("b", "", "linux/amd64"),
    ]
    assert [len(stage.instructions) for stage in file.stages] == [1, 0]


def test_shell_and_exec_forms() -> None:
    run, cmd = one("RUN echo  hi"), one('CMD ["a", "b"]')
    assert isinstance(run, typed.Run) and run.command == typed.Command(("echo  hi",), True)
    assert isinstance(cmd, typed.Cmd) and cmd.command == typed.Command(("a", "b"), False)


def test_run_flags() -> None:
    run = one("RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t --network=none --security=sandbox x")
    assert isinstance(run, typed.Run)
    assert (run.mounts, run.network) == (("type=cache,target=/c", "type=tmpfs,target=/t"), "none")


def test_copy_with_flags_and_documents() -> None:
    copy = one("COPY --from=0 --chown=a:b --chmod=755 --exclude=*.o --exclude=x a <<f \"b\" <<'g' /d/\n$x\nf\n$y\ng")
    assert isinstance(copy, typed.Copy)
    assert (copy.source_stage, copy.chown, copy.chmod, copy.excludes) == ("0", "a:b", "755", ("*.o", "x"))
    assert (copy.sources, copy.destination) == (("a", '"b"'), "/d/")
    assert copy.contents == (typed.Inline("f", "$x\n", True), typed.Inline("g", "$y\n", False))


def test_add_knows_its_own_flags() -> None:
    add = one("ADD --checksum=sha256:00 --keep-git-dir --unpack=false --link https://x/y /z")
    assert isinstance(add, typed.Add)
    assert (add.checksum, add.keep_git_dir, add.unpack, add.link) == ("sha256:00", True, False, True)


def test_healthcheck_times_are_nanoseconds() -> None:
    check = one("HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=0s --retries=3 CMD curl x")
    assert isinstance(check, typed.Healthcheck)
    assert (check.test, check.interval, check.timeout, check.retries) == (
        ("CMD-SHELL", "curl x"),
        90_000_000_000,
        500_000_000,
        3,
    )
    none = one("HEALTHCHECK NONE")
    assert isinstance(none, typed.Healthcheck) and none.test == ("NONE",)


def test_onbuild_keeps_its_trigger_with_documents() -> None:
    trigger = one("ONBUILD  RUN --network=none <<X\necho\nX")
    assert isinstance(trigger, typed.OnBuild)
    assert trigger.trigger == "RUN --network=none <<X\necho\nX"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("RNU echo hi", "unknown instruction: RNU (did you mean RUN?)"),
        ("rnu echo hi", "unknown instruction: rnu (did you mean run?)"),
        ("COPPY a b", "unknown instruction: COPPY (did you mean COPY?)"),
        ("SOMETHING else", "unknown instruction: SOMETHING"),
        ("FROM", "FROM requires either one or three arguments"),
        ("FROM a b", "FROM requires either one or three arguments"),
        ("FROM a as 1x", 'invalid name for build stage: "1x", name can\'t start with a number or contain symbols'),
        ("FROM --platfrom=x a", "unknown flag: --platfrom (did you mean platform?)"),
        ("RUN", "RUN requires at least one argument"),
        ("RUN --netwrok=none x", "unknown flag: --netwrok (did you mean network?)"),
        ("RUN --network=bridge x", 'invalid network mode "bridge"'),
        ("RUN --network x", "missing a value on flag: --network"),
        ("RUN --network=none --network=none x", "duplicate flag specified: --network"),
        ("RUN --mount=from=$x,target=/y x", "'from' doesn't support variable expansion, define alias stage instead"),
        (
            "COPY a",
            "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
        ),
        ("COPY --link=maybe a b", "expecting boolean value for flag --link, not: maybe"),
        ("COPY a <<x\nx", "COPY cannot accept a heredoc as a destination"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV =x", "ENV names can not be blank"),
        ("ENV --x=y a=b", "unknown flag: --x"),
        ("LABEL", "LABEL requires at least one argument"),
        ("ARG", "ARG requires at least one argument"),
        ("ARG =x", "ARG names can not be blank"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("USER", "USER requires exactly one argument"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ('VOLUME [""]', "VOLUME specified can not be an empty string"),
        ("SHELL", "SHELL requires at least one argument"),
        ("SHELL bash -c", "SHELL requires the arguments to be in JSON form: SHELL bash -c"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK CMDS x", 'Unknown type "CMDS" in HEALTHCHECK (try CMD)'),
        ("HEALTHCHECK --interval=5 CMD x", 'time: invalid duration "5" (a unit is missing: 30s, 5m)'),
        ("HEALTHCHECK --interval=1us CMD x", 'Interval "interval" cannot be less than 1ms'),
        ("HEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative (-1)"),
        ("HEALTHCHECK --retries=x CMD x", 'invalid value "x" for --retries: a whole number is needed'),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("ONBUILD MAINTAINER x", "MAINTAINER isn't allowed as an ONBUILD trigger"),
        ("ONBUILD RNU x", "unknown instruction: RNU (did you mean RUN?)"),
        ("MAINTAINER", "MAINTAINER requires exactly one argument"),
        ('CMD ["a\\u0000b"]', "CMD can't take a NUL character: no command or path can hold one"),
    ],
)
def test_wrong_instruction_says_what_is_wrong(line: str, expected: str) -> None:
    assert problem(line) == expected


def test_instruction_before_from_is_refused_with_its_line() -> None:
    with pytest.raises(DockerfileError) as caught:
        program(parse("ARG x\nRUN y\nFROM z\n"))
    assert (caught.value.first, caught.value.problem) == (
        2,
        "no build stage in current context: a FROM has to come first",
    )


def test_file_without_from_is_refused() -> None:
    with pytest.raises(DockerfileError, match="a FROM is missing"):
        program(parse("ARG x\n"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("target=/x", Mount("bind", target="/x")),
        ("type=bind,from=a,src=/s,dst=/x,rw", Mount("bind", "a", "/s", "/x", read_only=False)),
        ("type=cache,target=/x", Mount("cache", target="/x", read_only=False)),
        (
            "type=cache,id=i,target=/x,sharing=locked,mode=0700,uid=1,gid=2,ro=true",
            Mount("cache", target="/x", id="i", sharing="locked", mode=0o700, uid=1, gid=2),
        ),
        ("type=tmpfs,target=/x,size=1.5m", Mount("tmpfs", target="/x", read_only=False, size=1_572_864)),
        ("type=secret,id=key,required", Mount("secret", id="key", required=True)),
        ('type=tmpfs,"target=/a,b"', Mount("tmpfs", target="/a,b", read_only=False)),
        ("type=$T,target=/$T", Mount("cache", target="/cache", read_only=False)),
    ],
)
def test_mount_fields(text: str, expected: Mount) -> None:
    assert parse_mount(text, lambda word: word.replace("$T", "cache")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type=bnid,target=/x", 'unsupported mount type "bnid" (did you mean bind?)'),
        ("traget=/x", "unexpected key 'traget' in 'traget=/x' (did you mean target?)"),
        ("type=bind", "invalid bind mount: a target is required"),
        ("type=bind,target=/x,mode=0700", 'mode not allowed for "bind" type mounts'),
        ("type=bind,target=/x,sharing=shared", "invalid cache sharing set for bind mount"),
        ("type=bind,target=/x,size=1", "unexpected key 'size' for mount type 'bind'"),
        ("type=bind,target=/x,required", "unexpected key 'required' for mount type 'bind'"),
        ("type=cache,target=/x,sharing=all", 'unsupported sharing value "all"'),
        ("type=cache,target=/x,uid=-1", "invalid value -1 for uid"),
        ("type=cache,target=/x,ro=maybe", "invalid value for ro: maybe"),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=tmpfs,target", "invalid field 'target' must be a key=value pair"),
        ("type=tmpfs,target=/x,size=lots", "invalid value for size: lots"),
    ],
)
def test_wrong_mount_says_what_is_wrong(text: str, expected: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_mount(text, lambda word: word)
    assert caught.value.problem == expected


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1s", 10**9),
        ("1.5h", 54 * 10**11),
        ("1h2m3s4ms5us6ns", 3723004005006),
        ("-1m", -60 * 10**9),
        (".5s", 5 * 10**8),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "1", "s", "1x", "1s ", "1 s", "9999999999h", "١s", "1" * 200 + "s"])
def test_wrong_durations(text: str) -> None:
    with pytest.raises(DockerfileError, match="invalid duration"):
        parse_duration(text)
