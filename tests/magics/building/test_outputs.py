"""`-o`, `--secret`, `--metadata-file`: what a build gives and takes at the command line."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from dosirak.magics.building.inputs import read_secret
from dosirak.magics.building.outputs import Output, parse
from dosirak.magics.errors import DosirakError
from support.engines import Engine

DOCKERFILE = "FROM {}\nRUN echo hello > /hello && chmod 640 /hello && ln -s hello /link\n"


def build(
    engine: Engine, folder: Path, text: str, *flags: str, env: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[bytes]:
    """`dosirak build` in a folder whose Dockerfile is `text`."""
    context = folder / "context"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text(text)
    command = [sys.executable, "-m", "dosirak.magics.cli", "build", *flags, str(context)]
    return subprocess.run(command, env=engine.environment(env), capture_output=True, timeout=90, cwd=folder)


def test_a_folder_a_tar_and_archives_are_written_and_no_image_stays(
    engine: Engine, busybox: str, tmp_path: Path
) -> None:
    before = engine.docker("images", "-aq", "--no-trunc").stdout
    outputs = ["out", "type=tar,dest=files.tar", "type=oci,dest=oci.tar", 'type=docker,dest=docker.tar,"name=a/b:1,c"']
    flags = [word for output in outputs for word in ("-o", output)]
    done = build(engine, tmp_path, DOCKERFILE.format(busybox), "-t", "tagged:2", *flags)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/hello").read_text() == "hello\n" and os.readlink(tmp_path / "out/link") == "hello"
    assert (tmp_path / "out/hello").stat().st_mode & 0o777 == 0o640
    with tarfile.open(tmp_path / "files.tar") as archive:
        assert archive.getmember("hello").mode == 0o640
    assert names(tmp_path / "oci.tar") == ({"docker.io/library/tagged:2"}, ["tagged:2"])
    assert names(tmp_path / "docker.tar") == ({"docker.io/a/b:1", "docker.io/library/c:latest"}, ["a/b:1", "c:latest"])
    assert engine.docker("images", "-aq", "--no-trunc").stdout == before
    assert engine.docker("ps", "-aq").stdout == ""
    engine.docker("load", "-i", tmp_path / "docker.tar")
    assert engine.docker("run", "--rm", "c", "cat", "/hello").stdout == "hello\n"
    engine.docker("rmi", "a/b:1", "c")


def names(path: Path) -> tuple[set[str], list[str]]:
    """The names an image archive has for its image, as OCI and as Docker have them."""
    with tarfile.open(path) as archive:
        index = json.load(archive.extractfile("index.json"))
        manifest = json.load(archive.extractfile("manifest.json"))
    return {entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]}, manifest[0]["RepoTags"]


def test_dash_writes_the_files_to_standard_output(engine: Engine, busybox: str, tmp_path: Path) -> None:
    done = build(engine, tmp_path, DOCKERFILE.format(busybox), "-q", "-o", "-")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert archive.extractfile("hello").read() == b"hello\n"


def test_ids_and_digests_go_to_files(engine: Engine, busybox: str, tmp_path: Path) -> None:
    flags = ["-q", "-t", "meta:1", "--iidfile", "id", "--metadata-file", "meta.json", "-o", "type=image,name=more:2"]
    done = build(engine, tmp_path, DOCKERFILE.format(busybox), *flags)
    document = json.loads((tmp_path / "meta.json").read_text())
    image = engine.docker("inspect", "-f", "{{.Id}}", "meta:1").stdout.strip()
    assert done.stdout.decode().strip() == (tmp_path / "id").read_text() == image
    assert document["containerimage.config.digest"] == image and document["containerimage.digest"].startswith("sha256:")
    assert document["image.name"] == "docker.io/library/meta:1,docker.io/library/more:2"
    engine.docker("rmi", "meta:1", "more:2")


def test_secrets_of_files_and_variables_reach_a_step(engine: Engine, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file")
    text = (
        f"FROM {busybox}\nRUN --mount=type=secret,id=f --mount=type=secret,id=v,env=V cat /run/secrets/f; echo .$V.\n"
    )
    flags = ["-q", "--no-cache", "--secret", "id=f,src=key", "--secret", "id=v,env=WORD", "-o", "type=tar,dest=o.tar"]
    text = text.replace("cat /run", "cp /run").replace("/f; echo .$V.", "/f /f; echo .$V. > /v")
    done = build(engine, tmp_path, text, *flags, env={"WORD": "variable"})
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "o.tar") as archive:
        assert archive.extractfile("f").read() == b"from a file" and archive.extractfile("v").read() == b".variable.\n"


def test_stages_named_by_no_cache_filter_run_again_with_what_stands_on_them(
    engine: Engine, busybox: str, tmp_path: Path
) -> None:
    text = f"FROM {busybox} AS one\nRUN date +%N > /t\nFROM one AS two\nRUN cat /t\nFROM {busybox}\nRUN echo x\n"
    text += "COPY --from=two /t /t\n"
    build(engine, tmp_path, text)
    again = build(engine, tmp_path, text, "--no-cache-filter", "two").stdout.decode()
    assert [step.split(" : ")[1].splitlines()[0] for step in again.split("Step ") if "Using cache" in step] == [
        "RUN date +%N > /t",
        "RUN echo x",
        "COPY --from=two /t /t",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out", Output("local", "out")),
        ("type=local,dest=x", Output("local", "x")),
        ("type=image,name=a,rewrite-timestamp=true", Output("image", "", ("a",), rewrite=True)),
        ('type=docker,dest=d,"name=a,b"', Output("docker", "d", ("a", "b"))),
        ("type=oci,dest=d,tar=false", Output("oci", "d", unpacked=True)),
    ],
)
def test_outputs_are_read_as_buildx_reads_them(text: str, expected: Output) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("dest=x", "type is required for output"),
        ("type=local", "dest is required for local output"),
        ("type=zip,dest=x", "unknown output type 'zip'"),
        ("type=image,push=true", "then push the image"),
        ("type=tar,dest=x,speed=1", "speed is not supported"),
    ],
)
def test_a_wrong_output_is_said(text: str, problem: str) -> None:
    with pytest.raises(DosirakError, match=problem):
        parse(text)


def test_secrets_are_read_as_buildx_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"\xff content")
    monkeypatch.setenv("WORD", "variable")
    assert read_secret(f"id=a,src={tmp_path}/file") == ("a", b"\xff content")
    assert read_secret(f"source={tmp_path}/file") == ("file", b"\xff content")
    assert read_secret("id=a,env=WORD") == read_secret("id=a,type=env,src=WORD") == ("a", b"variable")
    assert read_secret("id=WORD") == ("WORD", b"variable")
    for text, problem in (("id", "key=value"), ("id=a,x=1", "unexpected key 'x'"), ("id=a,src=/none", "no such file")):
        with pytest.raises(DosirakError, match=problem):
            read_secret(text)
