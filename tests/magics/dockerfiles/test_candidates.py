"""Tab in a `%%dockerfile` cell: what is offered where, and that the table of instructions is the engine's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosirak.engine.build.dockerfile import parse, program
from dosirak.engine.build.dockerfile.convert import _CONVERTERS
from dosirak.engine.build.dockerfile.mounts import parse_mount
from dosirak.engine.build.errors import DockerfileError
from dosirak.magics.dockerfiles import complete
from dosirak.magics.dockerfiles.language import INSTRUCTIONS, MOUNTS


def offered(before: str) -> list[str]:
    return complete(before, lambda: ["busybox", "debian:12"])[1]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("FR", ["FROM"]),
        ("fr", ["from"]),
        ("FROM a\nE", ["ENTRYPOINT", "ENV", "EXPOSE"]),
        ("ONBUILD wor", ["workdir"]),
        ("FROM ", ["scratch", "busybox", "debian:12"]),
        ("FROM a AS base\nFROM ba", ["base"]),
        ("FROM a ", ["AS"]),
        ("FROM --pl", ["--platform="]),
        ("FROM --platform=$BUILDP", ["BUILDPLATFORM"]),
        ("FROM --platform=$BUILDPLATFORM de", ["debian:12"]),
        ("FROM a AS one\nFROM b AS two\nCOPY --from=", ["0", "one", "busybox", "debian:12"]),
        ("FROM a AS one\nFROM b\nCOPY --from=o", ["one"]),
        ("FROM a\nCOPY --ch", ["--chown=", "--chmod="]),
        ("FROM a\nCOPY --chown=1 --ch", ["--chmod="]),
        ("FROM a\nCOPY --exclude=a --ex", ["--exclude="]),
        ("FROM a\nRUN --network=n", ["none"]),
        ("FROM a\nRUN --mount=", ["type=", "target=", "source=", "from=", "rw"]),
        ("FROM a\nRUN --mount=type=t", ["tmpfs"]),
        ("FROM a\nRUN --mount=type=cache,target=/x,sh", ["sharing="]),
        ("FROM a\nRUN --mount=type=cache,sharing=", ["shared", "private", "locked"]),
        ("FROM a AS b\nFROM c\nRUN --mount=from=b", ["busybox"]),
        ("FROM a\nRUN \\\n  # why\n  --net", ["--network="]),
        ("# escape=`\nFROM a\nRUN `\n  --net", ["--network="]),
        ("ARG VERSION=1\nFROM a:$V", ["VERSION"]),
        ("FROM a\nARG ONE\nENV TWO=2\nCOPY ${", ["ONE}", "TWO}"]),
        ("FROM a\nHEALTHCHECK --interval=3s ", ["CMD", "NONE"]),
        ("FROM a\nARG TARGETA", ["TARGETARCH"]),
        ("FROM a\nRUN <<E\nFR", []),
        ("FROM a\nRUN <<-'E'\n\tx\n\tE\nEN", ["ENTRYPOINT", "ENV"]),
        ("# FR", []),
        ("FROM a\nRUN pri", []),
        ("NOPE --x", []),
    ],
)
def test_tab_offers_what_could_stand_there(before: str, expected: list[str]) -> None:
    assert offered(before) == expected


def test_what_is_replaced_is_the_end_of_the_text() -> None:
    assert complete("FROM a AS b\nFROM x\nCOPY --from=b", lambda: ["busybox"])[0] == "b"
    assert complete("FROM a\nARG ONE\nCOPY x${O", list)[0] == "O"


def test_images_are_asked_for_only_where_one_could_stand() -> None:
    def never() -> list[str]:
        raise AssertionError

    for before in ("F", "FROM a ", "RUN --mount=type=", "COPY --ch", "# FROM "):
        complete(before, never)


@given(st.text(alphabet="FROM RUNCPYARG\n\\#$<E=-,'{}`frm", max_size=60))
def test_any_text_has_an_answer_that_fits_its_end(before: str) -> None:
    fragment, found = complete(before, lambda: ["busybox"])
    assert before.endswith(fragment)
    assert all(option.lower().startswith(fragment.lower()) for option in found)


def test_table_has_the_engine_s_instructions_and_flags() -> None:
    assert set(INSTRUCTIONS) == set(_CONVERTERS)
    for name, known in INSTRUCTIONS.items():
        if not known.flags:
            continue
        with pytest.raises(DockerfileError) as caught:
            program(parse(f"FROM a\n{name} --no-such=x CMD a b\n" if name != "FROM" else "FROM --no-such=x a\n"))
        assert "unknown flag" in caught.value.problem
        for flag in known.flags:
            try:
                program(parse(f"FROM a\n{name} {flag}{'x' if flag.endswith('=') else ''} CMD b\n"))
            except DockerfileError as error:
                assert "unknown flag" not in error.problem


def test_table_s_keys_of_mounts_are_the_engine_s() -> None:
    values = {"sharing": "shared", "mode": "0700", "uid": "1", "gid": "1", "size": "1m", "from": "a"}
    for kind, keys in MOUNTS.items():
        fields = [key + (values.get(key[:-1], "/x") if key.endswith("=") else "") for key in keys]
        assert parse_mount(",".join([f"type={kind}", *fields]), str).kind == kind


@pytest.mark.parametrize("name", sorted(INSTRUCTIONS))
def test_examples_are_right(name: str) -> None:
    example = INSTRUCTIONS[name].example
    file = f"{example}\n" if name == "FROM" else f"FROM a AS build\nFROM a\n{example}\n"
    assert program(parse(file))
