"""The real docker CLI on our socket: images and builds."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.engines import Engine
from support.rootfs import busybox_tar

Docker = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A build context with a file in it."""
    (tmp_path / "greeting").write_text("hello from the context\n")
    return tmp_path


def test_build_streams_its_steps_and_names_the_image(docker: Docker, busybox: str, context: Path) -> None:
    (context / "Dockerfile").write_text(
        f"FROM {busybox}\nARG WHO=nobody\nENV WHO=$WHO\nCOPY greeting /greeting\n"
        "RUN echo running for $WHO && cat /greeting > /made\nCMD cat /made\n"
    )
    done = docker("build", "-t", "app:1", "--build-arg", "WHO=you", ".", cwd=context)
    assert "Step 5/6 : RUN echo running for $WHO" in done.stdout
    assert "running for you" in done.stdout
    assert "Successfully tagged app:1" in done.stdout
    assert docker("run", "--rm", "app:1").stdout == "hello from the context\n"
    again = docker("build", "-t", "app:1", "--build-arg", "WHO=you", ".", cwd=context)
    assert again.stdout.count("Using cache") == 2
    assert "running for you" not in again.stdout
    quiet = docker("build", "-q", "--build-arg", "WHO=you", ".", cwd=context).stdout.strip()
    assert quiet == docker("images", "-q", "--no-trunc", "app:1").stdout.strip()
    docker("rmi", "app:1")


def test_a_failing_step_fails_the_build_with_its_status(docker: Docker, busybox: str, context: Path) -> None:
    (context / "Dockerfile").write_text(f"FROM {busybox}\nRUN echo before; exit 9\nRUN echo never\n")
    done = docker("build", "-t", "broken", ".", cwd=context, check=False)
    assert done.returncode == 9
    assert "before" in done.stdout
    assert "returned a non-zero code: 9" in done.stderr
    assert "never" not in done.stdout.replace("echo never", "")
    assert docker("images", "-q", "broken").stdout == ""


def test_a_dockerfile_from_standard_input(docker: Docker, busybox: str) -> None:
    done = docker("build", "-t", "piped", "-", stdin=f"FROM {busybox}\nRUN echo x > /x\n")
    assert "Successfully tagged piped:latest" in done.stdout
    docker("rmi", "piped")


def test_a_syntax_error_is_told_with_its_line(docker: Docker, busybox: str, context: Path) -> None:
    (context / "Dockerfile").write_text(f"FROM {busybox}\nRNU echo\n")
    done = docker("build", ".", cwd=context, check=False)
    assert done.returncode == 1
    assert "line 2" in done.stderr
    assert "RNU" in done.stderr


def test_images_are_listed_inspected_tagged_and_removed(docker: Docker, busybox: str) -> None:
    docker("tag", busybox, "other/name:v2")
    rows = [json.loads(line) for line in docker("images", "--format", "{{json .}}").stdout.splitlines()]
    row = next(row for row in rows if row["Repository"] == "other/name")
    assert row["Tag"] == "v2"
    document = json.loads(docker("image", "inspect", "other/name:v2").stdout)[0]
    assert document["Id"].startswith("sha256:" + row["ID"])
    assert set(document["RepoTags"]) >= {busybox, "other/name:v2"}
    assert (document["Os"], document["Config"]["Cmd"]) == ("linux", ["sh"])
    assert "Untagged: other/name:v2" in docker("rmi", "other/name:v2").stdout
    history = docker("history", "--format", "{{json .}}", busybox).stdout
    assert json.loads(history.splitlines()[0])["Size"]


def test_an_image_in_use_is_not_removed(docker: Docker, busybox: str) -> None:
    docker("tag", busybox, "used:1")
    docker("run", "-d", "--name", "user", "used:1", "sleep", "100")
    done = docker("rmi", busybox, "used:1", check=False)
    assert done.returncode == 1
    assert "conflict: unable to" in done.stderr
    docker("rm", "-f", "user")
    docker("tag", "used:1", busybox, check=False)
    docker("rmi", "used:1", check=False)


def test_what_was_committed_from_goes_with_its_last_child(docker: Docker, busybox: str) -> None:
    def commit(image: str, name: str) -> str:
        container = docker("create", image, "true").stdout.strip()
        made = docker("commit", "-c", f"LABEL name={name}", container, name).stdout.strip()
        docker("rm", container)
        return made[7:19]

    def shown(*words: str) -> set[str]:
        return set(docker("images", "-q", *words).stdout.split())

    parent = commit(busybox, "parent:1")
    child, other = commit("parent:1", "child:1"), commit("parent:1", "other:1")
    done = docker("rmi", "-f", parent, check=False)
    wanted = f"conflict: unable to delete {parent} (cannot be forced) - image has dependent child images"
    assert done.returncode == 1 and wanted in done.stderr
    assert docker("rmi", "parent:1").stdout == "Untagged: parent:1\n"
    assert parent not in shown() | shown("--filter", "dangling=true") and parent in shown("-a")
    # It is no garbage as long as somebody was committed from it.
    docker("image", "prune", "-f")
    assert parent in shown("-a")
    assert parent not in docker("rmi", "child:1").stdout
    said = docker("rmi", "other:1").stdout
    assert said.index(f"Deleted: sha256:{other}") < said.index(f"Deleted: sha256:{parent}")
    assert not {child, other, parent} & shown("-a")
    # Or it is spared, and then garbage.
    parent = commit(busybox, "parent:1")
    commit("parent:1", "child:1")
    docker("rmi", "parent:1")
    assert parent not in docker("rmi", "--no-prune", "child:1").stdout
    assert f"sha256:{parent}" in docker("image", "prune", "-f").stdout


def test_prune_takes_what_its_filters_choose(fresh_engine: Engine) -> None:
    docker, busybox = fresh_engine.docker, fresh_engine.import_busybox()
    for name in ("one", "two"):
        docker("build", "-q", "-t", f"{name}:1", "-", stdin=f"FROM {busybox}\nLABEL name={name}\n")

    def there() -> list[str]:
        return sorted(docker("images", "--format", "{{.Repository}}").stdout.split())

    assert docker("image", "prune", "-a", "-f", "--filter", "until=24h").stdout == "Total reclaimed space: 0B\n"
    assert there() == ["busybox", "one", "two"]
    said = docker("image", "prune", "-a", "-f", "--filter", "label=name=one").stdout.lower()
    assert "untagged: one:1" in said and "two" not in said
    said = docker("image", "prune", "-a", "-f", "--filter", "until=0s", "--filter", "label!=name=two").stdout.lower()
    assert "untagged: busybox:latest" in said and there() == ["two"]


def test_a_repository_without_a_tag_is_saved_with_all_its_tags(docker: Docker, busybox: str, tmp_path: Path) -> None:
    docker("tag", busybox, "many:1")
    docker("tag", busybox, "many:2")
    docker("save", "-o", tmp_path / "archive.tar", "many")
    docker("rmi", "many:1", "many:2")
    assert sorted(docker("load", "-i", tmp_path / "archive.tar").stdout.splitlines()) == [
        "Loaded image: many:1",
        "Loaded image: many:2",
    ]
    docker("rmi", "many:1", "many:2")
    assert "No such image: nosuch:latest" in docker("save", "-o", tmp_path / "no.tar", "nosuch", check=False).stderr


def test_the_sandbox_key_leads_to_the_containers_network_namespace(docker: Docker, busybox: str) -> None:
    docker("run", "-d", "--name", "keyed", busybox, "sleep", "100")
    key = docker("inspect", "-f", "{{.NetworkSettings.SandboxKey}}", "keyed").stdout.strip()
    seen = docker("exec", "keyed", "readlink", "/proc/self/ns/net").stdout.strip()
    assert seen == os.readlink(key) != os.readlink("/proc/self/ns/net")


def test_save_load_and_import(docker: Docker, busybox: str, tmp_path: Path) -> None:
    docker("tag", busybox, "saved:1")
    docker("save", "-o", tmp_path / "archive.tar", "saved:1")
    docker("rmi", "saved:1")
    assert docker("load", "-i", tmp_path / "archive.tar").stdout.strip() == "Loaded image: saved:1"
    assert docker("run", "--rm", "saved:1", "echo", "back").stdout == "back\n"
    docker("rmi", "saved:1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tag", "busybox", "sha256:1"), "refusing to create an ambiguous tag using digest algorithm as name"),
        (("tag", "nosuch", "other"), "No such image: nosuch:latest"),
        (("pull", "--platform", "foobar", "busybox"), '"foobar": unknown operating system or architecture'),
        (("import", "--platform", "macos", "/dev/null"), "operating system is not supported"),
        (("import", "--platform", "macos/arm64", "/dev/null"), "operating system is not supported"),
        (("images", "--filter", "dangling=maybe"), "invalid filter 'dangling=[maybe]'"),
        (("images", "--filter", "reference=["), "syntax error in pattern"),
        (("image", "prune", "-f", "--filter", "bad=x"), "invalid filter 'bad'"),
        (("push", "nosuch:1"), "An image does not exist locally with the tag: nosuch"),
    ],
)
def test_what_is_wrong_is_said_in_dockers_words(
    docker: Docker, busybox: str, words: tuple[str, ...], said: str
) -> None:
    done = docker(*words, check=False)
    assert done.returncode == 1 and said in done.stderr


def test_a_container_of_an_empty_command_can_be_committed_and_not_be_started(docker: Docker, busybox: str) -> None:
    docker("create", "--name", "nothing", busybox, "")
    docker("commit", "-c", 'CMD ["echo", "committed"]', "nothing", "made:1")
    assert docker("run", "--rm", "made:1").stdout == "committed\n"
    done = docker("run", "--rm", busybox, "", check=False)
    assert done.returncode == 127 and 'exec: "": executable file not found in $PATH' in done.stderr


def test_save_and_load_take_a_platform(docker: Docker, busybox: str, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    docker("tag", busybox, "saved:1")
    docker("save", "--platform", "linux/amd64", "-o", archive, "saved:1")
    done = docker("save", "--platform", "linux/s390x", "-o", tmp_path / "no.tar", "saved:1", check=False)
    assert done.returncode == 1 and "does not provide the specified platform (linux/s390x)" in done.stderr
    docker("rmi", "saved:1")
    done = docker("load", "--platform", "linux/s390x", "-i", archive, check=False)
    assert done.returncode == 1 and "no image for linux/s390x in the archive" in done.stderr
    assert docker("load", "--platform", "linux/amd64", "-i", archive).stdout.strip() == "Loaded image: saved:1"
    docker("rmi", "saved:1")


class _Files(http.server.BaseHTTPRequestHandler):
    """Gives out a root filesystem, and sends those who ask for /moved on to it."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/root.tar")
            self.end_headers()
        elif self.path == "/root.tar":
            data = busybox_tar()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        elif self.path == "/short.tar":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(busybox_tar()[:100_000])
        else:
            self.send_error(404, "not here")

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def files() -> Iterator[str]:
    """A server of files; its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("url", ["http://{}/root.tar", "http://someone:secret@{}/moved"])
def test_a_root_filesystem_is_imported_from_a_url(docker: Docker, files: str, url: str) -> None:
    said = docker("import", "-c", "CMD echo fetched", "--platform", "linux/amd64", url.format(files), "fetched:1")
    assert "Downloading from http://" in said.stdout and "secret" not in said.stdout
    assert docker("run", "--rm", "fetched:1").stdout == "fetched\n"
    comment = docker("history", "--format", "{{.Comment}}", "fetched:1").stdout
    assert comment.startswith("Imported from http://") and "secret" not in comment
    docker("rmi", "fetched:1")


def test_what_can_not_be_fetched_is_one_clear_error(docker: Docker, files: str) -> None:
    before = docker("images", "-aq").stdout
    for url, words in (
        (f"http://{files}/none", f"failed to GET http://{files}/none with status 404 not here"),
        ("http://127.0.0.1:1/root.tar", "connection refused"),
        (f"http://{files}/short.tar", "the answer broke off"),
    ):
        done = docker("import", url, check=False)
        assert done.returncode == 1 and words in done.stderr, done.stderr
    assert docker("images", "-aq").stdout == before


def test_a_corrupt_archive_is_one_clear_error(docker: Docker, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"this is no archive" * 100)
    before = docker("images", "-aq").stdout
    done = docker("load", "-i", tmp_path / "bad.tar", check=False)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert docker("images", "-aq").stdout == before


def test_a_registry_out_of_reach_is_named(docker: Docker) -> None:
    done = docker("pull", "nosuch", check=False)
    assert done.returncode == 1
    assert 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused' in done.stderr
