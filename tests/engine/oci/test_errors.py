"""What is refused, in which words, and where it is written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dosirak.engine.oci import arguments, bundle, signals, state, template
from dosirak.engine.oci.failure import Failure

if TYPE_CHECKING:
    from conftest import Runtime


def test_options_are_taken_in_every_form() -> None:
    grammar = arguments.Grammar(flags="detach,d", values="bundle,b", lists="env,e")
    options, rest = grammar.parse(["-d", "--bundle=x", "-e", "A=1", "--env", "B=2", "name", "-d"])
    assert (options.has("detach"), options.get("bundle"), options.all("env")) == (True, "x", ["A=1", "B=2"])
    assert rest == ["name", "-d"]
    assert grammar.parse(["--detach=false"])[0].has("detach") is False
    for words in (["--no-such"], ["--bundle"]):
        with pytest.raises(Failure):
            grammar.parse(words)


@pytest.mark.parametrize("text", ["15", "TERM", "SIGTERM", "term"])
def test_a_signal_has_many_names(text: str) -> None:
    assert signals.number(text) == 15


@pytest.mark.parametrize("text", ["", "NOPE", "SIG_DFL", "_DFL", "-1", "9999"])
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(Failure):
        signals.number(text)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a b", "@seccomp", "a\n", "é"])
def test_what_is_no_container_s_name_never_becomes_a_path(name: str) -> None:
    with pytest.raises(Failure, match="invalid container ID"):
        state.directory_of("/run/x", name)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("ociVersion", "0.1", "ociVersion"),
        ("process.args", [], "process.args"),
        ("process.cwd", "here", "absolute"),
        ("process.apparmorProfile", "x", "AppArmor"),
        ("process.selinuxLabel", "x", "SELinux"),
        ("linux.personality", {"domain": "MINIX"}, "MINIX"),
        ("linux.intelRdt", {"closID": "x"}, "Intel RDT"),
        ("process.execCPUAffinity", {"final": "0-99999999999"}, "below 1024"),
        ("process.execCPUAffinity", {"initial": "3-1"}, "below 1024"),
        ("linux.namespaces", [{"type": "dreams"}], "dreams"),
        ("linux.namespaces", [{"type": "mount"}, {"type": "mount"}], "twice"),
        ("linux.cgroupsPath", "a.slice:b:c", "systemd"),
        ("linux.cgroupsPath", "/..", "root of the hierarchy"),
    ],
)
def test_what_can_t_be_honoured_is_refused_by_name(path: str, value: Any, said: str, tmp_path: Any) -> None:
    document = template.document()
    place = document
    *parents, last = path.split(".")
    for parent in parents:
        place = place[parent]
    place[last] = value
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(Failure, match=said):
        bundle.load(str(tmp_path), "x")


def test_what_is_done_is_told_in_lines_that_nothing_in_it_can_break(runtime: Runtime) -> None:
    done = runtime("--debug", "state", 'no"body\nlevel=debug', fails=True)
    first, *others = done.stderr.splitlines()
    assert first.endswith(r'level=debug msg="state: no\"body\nlevel=debug"')
    assert all(line.startswith("dosirak runtime: ") for line in others), others


def test_errors_go_to_the_log_as_json(runtime: Runtime) -> None:
    log = runtime.folder / "log"
    done = runtime("--log", log, "--log-format", "json", "state", "nobody", fails=True)
    assert done.returncode == 1
    entry = json.loads(log.read_text())
    assert (entry["level"], entry["msg"]) == ("error", "container does not exist")
    assert set(entry) == {"level", "msg", "time"}


def test_a_name_is_taken_once(runtime: Runtime) -> None:
    bundle = runtime.bundle("sleep", "1000")
    name = runtime.create(bundle)
    assert "already exists" in runtime("create", "--bundle", bundle, name, fails=True).stderr
    assert runtime.state(name)["status"] == "created"


def test_a_control_group_with_others_in_it_is_refused(runtime: Runtime) -> None:
    first = runtime.create(runtime.bundle("sleep", "1000"))
    bundle = runtime.bundle(change=lambda document: document["linux"].update(cgroupsPath=f"dosirak/{first}"))
    assert "cgroup is not empty" in runtime("run", "--bundle", bundle, runtime.name(), fails=True).stderr
    assert runtime.state(first)["status"] == "created"


@pytest.mark.parametrize("words", [["--systemd-cgroup", "list"], ["create", "--no-pivot", "x"], ["dance"], ["start"]])
def test_what_is_not_supported_is_said(runtime: Runtime, words: list[str]) -> None:
    done = runtime(*words, fails=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
