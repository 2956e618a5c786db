"""The magics in an IPython shell, on a real engine: values, displays, errors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dosirak.magics.errors import DosirakError, NotSupported, UsageError

Output = pytest.CaptureFixture[str]


def test_a_foreground_run_shows_its_output_and_yields_its_status(magic: Any, capsys: Output) -> None:
    status = magic("container", "run --rm busybox sh -c 'echo out; echo err >&2; exit 3'")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("out\n", "err\n")
    assert status == 3 and isinstance(status, int)
    assert status.words == "exit status 3"
    with pytest.raises(DosirakError, match="exit status 3"):
        status.check()
    assert magic("container", "run --rm busybox true") == 0


def test_a_cell_s_body_is_the_standard_input(magic: Any, capsys: Output) -> None:
    assert magic("container", "run --rm -i busybox sh", "echo from $0\necho $((6 * 7))\n") == 0
    assert capsys.readouterr().out == "from sh\n42\n"
    big = "x" * 300_000
    magic("docker", "run --rm -i busybox wc -c", big)
    assert capsys.readouterr().out.strip() == "300000"


def test_without_a_body_the_standard_input_is_empty(magic: Any, capsys: Output) -> None:
    assert magic("container", "run --rm -i busybox cat") == 0
    assert capsys.readouterr().out == ""


def test_a_tty_in_a_cell_is_a_pty(magic: Any, capsys: Output) -> None:
    assert magic("container", "run --rm -t busybox tty") == 0
    assert capsys.readouterr().out.strip() == "/dev/pts/0"
    assert magic("container", "run --rm -it busybox sh", "tty\nexit 4\n") == 4
    assert "/dev/pts/0" in capsys.readouterr().out


def test_output_in_a_cell_is_safe_text(magic: Any, capsys: Output) -> None:
    magic("container", r"run --rm busybox printf '\033]0;title\007\033[31mred\033[0m\033[2Jend\n'")
    assert capsys.readouterr().out == "\x1b[31mred\x1b[0mend\n"


def test_python_values_are_one_argument_each(shell: Any, magic: Any, capsys: Output) -> None:
    shell.user_ns.update(text="a  b; echo 'x' $(id) | cat", parts=["one", "two words"])
    magic("container", "run --rm busybox printf '[%s]' {text} $text {parts}")
    text = shell.user_ns["text"]
    assert capsys.readouterr().out == f"[{text}][{text}][one][two words]"


def test_python_values_come_from_the_calling_function(shell: Any, capsys: Output) -> None:
    code = (
        "def f(name):\n    return get_ipython().run_line_magic('container', 'run --rm busybox echo {name}')\nf('local')"
    )
    shell.run_cell(code)
    assert "local" in capsys.readouterr().out


def test_a_detached_container_is_an_object_that_shows_its_state(magic: Any) -> None:
    box = magic("container", "run -d --name box -p 80 -m 64m --label 'a=<b>' busybox sleep 100")
    assert box.name == "box" and box.status in ("running", "created")
    text, html = repr(box), box._repr_html_()
    assert re.match(r"box  [0-9a-f]{12}  Up ", text)
    assert "memory 64MiB" in text and "sleep 100" in text
    port = box.ports["80/tcp"][0]["HostPort"]
    assert f'href="http://localhost:{port}/"' in html
    stopped = magic("container", "stop -t 0 box")
    assert stopped.name == "box" and "Exited (137)" in repr(box)
    assert box.exec_run  # docker-py's methods are there
    magic("container", "rm box")
    assert "removed" in repr(box) and "removed" in box._repr_html_()


def test_ps_is_a_frame_with_real_types(magic: Any, capsys: Output) -> None:
    magic("container", "run -d --name one -p 80 busybox sleep 100")
    magic("container", "run --name two busybox sh -c 'exit 7'")
    shown = magic("container", "ps -a")
    assert list(shown.columns)[:7] == ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert set(shown.NAMES) == {"one", "two"}
    two = shown[shown.NAMES == "two"]
    assert two.STATE.iloc[0] == "exited" and two["EXIT CODE"].iloc[0] == 7
    assert (pd.Timestamp.now("UTC") - shown.CREATED).max() < pd.Timedelta(minutes=2)
    assert "\"sh -c 'exit 7'\"" in repr(two)
    assert shown[shown.NAMES == "one"].PORTS.iloc[0][0].private == 80
    assert list(magic("container", "ps").NAMES) == ["one"]
    assert magic("docker", "ps -aq --no-trunc --filter name=two") == list(two["CONTAINER ID"])
    assert magic("docker", "ps -a --filter status=exited --format '{{.Names}} {{.State}}'") == ["two exited"]
    assert list(magic("docker", "ps -l").NAMES) == ["two"]
    rows = [json.loads(line) for line in magic("docker", "ps -a --format json")]
    assert {row["Names"] for row in rows} == {"one", "two"}
    ids = magic("docker", "ps -aq")
    capsys.readouterr()
    magic("docker", f"rm -f {' '.join(ids)}")
    assert capsys.readouterr().out.split() == ids
    assert len(magic("container", "ps -a")) == 0


def test_exec_logs_top_and_inspect(magic: Any, capsys: Output) -> None:
    magic("container", "run -d --name box busybox sh -c 'echo started; echo warned >&2; exec sleep 100'")
    assert magic("container", "exec -e A=1 -w /tmp box sh -c 'echo $A $PWD; exit 5'") == 5
    assert capsys.readouterr().out == "1 /tmp\n"
    assert magic("container", "exec box sh", "echo $((6*7))\n") == 0
    assert capsys.readouterr().out == "42\n"
    magic("container", "logs box")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("started\n", "warned\n")
    magic("container", "logs --tail 1 -t box")
    stamped = capsys.readouterr()
    assert re.match(r"\d{4}-\d\d-\d\dT", stamped.out + stamped.err)
    processes = magic("container", "top box")
    assert processes.PID.dtype == "Int64" and processes.CMD.tolist() == ["sleep 100"]
    found = magic("container", "inspect box")
    assert found["State.Running"] is True and found[0]["Name"] == "/box"
    assert "<details" in found._repr_html_()
    assert magic("docker", "inspect -f '{{.State.Status}} {{json .Config.Image}}' box") == ['running "busybox"']


def test_images_tag_history_and_rm(magic: Any, capsys: Output) -> None:
    image = magic("image", "tag busybox renamed:v1")
    assert "renamed:v1" in image.tags
    listed = magic("image", "ls")
    row = listed[(listed.REPOSITORY == "renamed") & (listed.TAG == "v1")]
    assert row.SIZE.iloc[0] > 100_000 and listed.SIZE.dtype == "int64"
    assert list(magic("docker", "images renamed").TAG) == ["v1"]
    assert len(magic("image", "history renamed:v1")) >= 1
    assert "1 layer" in image._repr_html_()
    magic("image", "rm renamed:v1")
    assert "Untagged: renamed:v1" in capsys.readouterr().out
    with pytest.raises(DosirakError, match=r"No such image: renamed:v1"):
        magic("image", "inspect renamed:v1")


def test_networks_are_listed(magic: Any) -> None:
    shown = magic("network", "ls")
    assert list(shown.columns) == ["NETWORK ID", "NAME", "DRIVER", "SCOPE"]
    assert set(shown.NAME) >= {"bridge", "host", "none"}
    assert magic("network", "inspect bridge")["Name"] == "bridge"


def test_the_topology_is_the_running_system(magic: Any) -> None:
    box = magic("container", "run -d --name box -p 127.0.0.1::80 busybox sleep 100")
    magic("container", "run -d --name loner --network none busybox sleep 100")
    picture = magic("topology")
    box.reload()
    address = box.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    member = picture.system.bridges[0].members[0]
    assert (member.name, member.ip.split("/")[0]) == ("box", address)
    assert Path(f"/sys/class/net/{member.veth}/master").resolve().name == picture.system.bridges[0].device
    assert [m.name for m in picture.system.alone] == ["loner"]
    assert address in picture.svg and picture._repr_html_().startswith("<img ")
    assert [m.name for m in magic("topology", "loner").system.alone] == ["loner"]


def test_a_dockerfile_in_a_cell_becomes_an_image(magic: Any, tmp_path: Path, monkeypatch: Any, capsys: Output) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hello.txt").write_text("from the notebook's folder")
    (tmp_path / "secret.log").write_text("no")
    (tmp_path / ".dockerignore").write_text("*.log\n")
    body = "FROM busybox\nARG WHO\nCOPY . /in/\nRUN ls /in > /list; echo $WHO >> /list\nCMD cat /in/hello.txt /list\n"
    image = magic("dockerfile", "-t from-cell --build-arg WHO=me --label x=y", body)
    assert image.tags == ["from-cell:latest"]
    assert image.labels["x"] == "y"
    assert "COPY" in image._repr_html_()
    capsys.readouterr()
    magic("container", "run --rm from-cell")
    assert capsys.readouterr().out == "from the notebook's folderhello.txt\nme\n"


def test_a_wrong_dockerfile_names_its_line(magic: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DosirakError) as caught:
        magic("dockerfile", "-t bad", "FROM busybox\nRUNN x\n")
    assert "unknown instruction: RUNN" in caught.value.message
    assert "Dockerfile:2" in caught.value.message and ">>> RUNN x" in caught.value.message
    with pytest.raises(DosirakError, match=r"The command '/bin/sh -c exit 9' returned a non-zero code: 9") as failed:
        magic("dockerfile", "-t bad", "FROM busybox\nRUN exit 9\n")
    assert failed.value.exit_code == 9


WRONG = [
    ("container", "run --nmae x busybox", 125, "unknown flag: --nmae; did you mean --name?"),
    ("container", "run -p abc busybox", 125, "invalid containerPort: abc"),
    ("container", "run", 1, "'%container run' requires at least 1 argument (usage: %container run [OPTIONS] IMAGE"),
    ("container", "pss", 1, "unknown command: %container pss; did you mean ps?"),
    ("container", "pause x", 1, "Error response from daemon: No such container: x"),
    ("container", "run --gpus all busybox", 125, "--gpus: not supported by Dosirak (GPUs come with a later version)"),
    ("docker", "swarm init", 125, "docker swarm: not supported by Dosirak (it has no swarm"),
    ("container", "run --rm busybox nosuch", 127, 'exec: "nosuch": executable file not found in $PATH'),
    ("container", "run --rm busybox /etc", 126, "/etc"),
    ("container", "run --rm busybx true", 125, "connect: connection refused"),
    ("container", "rm nope", 1, "Error response from daemon: No such container: nope"),
    ("container", "stop a b", 1, "No such container: a\nError response from daemon: No such container: b"),
    ("container", "logs nope", 1, "Error response from daemon: No such container: nope"),
    ("container", "exec nope ls", 1, "Error response from daemon: No such container: nope"),
    ("image", "inspect nope", 1, "No such image: nope"),
    ("docker", "inspect nope", 1, "Error: No such object: nope"),
    ("container", 'inspect ""', 1, "invalid name or ID: value is empty"),
    ("docker", "images --format '{{.Tga}}'", 1, "did you mean Tag?"),
    ("container", "run --rm busybox echo | cat", 1, "|: a shell's operator, and no shell runs this line"),
    ("container", "run 'x", 1, "no closing quotation"),
    ("container", "run {1/0}", 1, "{1/0}: ZeroDivisionError: division by zero"),
    ("image", "load -i /nonexistent", 1, "open /nonexistent: no such file or directory"),
    ("dockerfile", "-t x", 1, "the Dockerfile is the cell's body"),
    ("topology", "nope", 1, "No such container: nope"),
    ("docker", "build -t x /nonexistent", 1, 'unable to prepare context: path "/nonexistent" not found'),
]


@pytest.mark.parametrize(("name", "line", "code", "words"), WRONG)
def test_a_mistake_is_one_clear_line(magic: Any, name: str, line: str, code: int, words: str) -> None:
    with pytest.raises(DosirakError) as caught:
        magic(name, line)
    assert words in caught.value.message
    assert caught.value.exit_code == code
    assert caught.value.__suppress_context__


def test_a_name_in_use_is_docker_s_conflict(magic: Any) -> None:
    magic("container", "create --name taken busybox true")
    with pytest.raises(DosirakError) as caught:
        magic("container", "run --name taken busybox true")
    assert 'Conflict. The container name "/taken" is already in use by container' in caught.value.message
    assert caught.value.exit_code == 125


def test_a_missing_image_is_suggested(magic: Any, capsys: Output) -> None:
    with pytest.raises(DosirakError, match=r"did you mean busybox\?$"):
        magic("container", "run --rm busybx true")
    assert capsys.readouterr().err == "Unable to find image 'busybx:latest' locally\n"


def test_a_body_where_none_belongs_is_refused(magic: Any) -> None:
    with pytest.raises(UsageError, match="has no use for a cell's body; use %container"):
        magic("container", "ps", "x")


def test_errors_have_no_traceback(shell: Any, capsys: Output) -> None:
    result = shell.run_cell("%container rm nope")
    assert not result.success
    assert "Traceback" not in capsys.readouterr().out
    assert result.error_in_exec._render_traceback_() == [
        "\x1b[31mError response from daemon: No such container: nope\x1b[39m"
    ]


def test_an_engine_that_can_t_be_reached_is_told(magic: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent.sock")
    with pytest.raises(DosirakError, match=r"Cannot connect to the Docker daemon at unix:///nonexistent.sock\. Is"):
        magic("container", "ps")


def test_an_engine_that_can_t_start_tells_why_and_what_to_do(magic: Any, monkeypatch: Any) -> None:
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv("DOSIRAK_RUN", "/proc/nowhere")
    with pytest.raises(DosirakError, match=r"Cannot start the Dosirak engine: /proc/nowhere: .*DOSIRAK_RUN"):
        magic("container", "ps")


def test_a_foreign_engine_has_nothing_of_what_is_ours_alone(magic: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from support.recorder import Recorder

    with Recorder(tmp_path / "s") as recorded:
        monkeypatch.setenv("DOCKER_HOST", recorded.host)
        with pytest.raises(NotSupported, match="topology: needs Dosirak's own engine"):
            magic("topology")
        with pytest.raises(NotSupported, match="manifest inspect: needs Dosirak's own engine"):
            magic("docker", "manifest inspect busybox")
        before = len(recorded.requests)
        with pytest.raises(DosirakError, match="is not Dosirak's engine: it serves no registry"):
            magic("registry", "serve --port 0")
        assert "/dosirak/registries" not in str(recorded.requests[before:])  # where a password would go


def test_help_is_shown_and_is_no_value(magic: Any, capsys: Output) -> None:
    assert magic("container", "") is None
    assert "Run '%container COMMAND --help'" in capsys.readouterr().out
    assert magic("container", "run --help") is None
    assert "--detach" in capsys.readouterr().out


def test_versions_and_status(magic: Any) -> None:
    assert "API" in magic("docker", "version")["Client"]
    status = magic("dosirak", "status")
    assert status["Engine"].startswith("Dosirak Engine") and "<b>Dosirak</b>" in status._repr_html_()
    assert int(magic("docker", "info -f '{{.NCPU}}'")[0]) > 0


def test_wait_start_restart_kill(magic: Any) -> None:
    magic("container", "create --name box busybox sh -c 'sleep 0.2; exit 6'")
    assert magic("container", "start box").name == "box"
    assert magic("container", "wait box") == 6
    assert magic("container", "start -a box") == 6
    magic("container", "run -d --name long busybox sleep 100")
    assert "Up" in repr(magic("container", "restart -t 0 long"))
    magic("container", "kill long")
    assert magic("container", "wait long") == 137


def test_hostile_names_are_escaped_in_every_view(magic: Any) -> None:
    evil = "<img src=x onerror=alert(1)>"
    box = magic(
        "container", f"run -d --name box --label 'l={evil}' -e 'E={evil}' busybox sh -c 'sleep 100; true' '{evil}'"
    )
    views = [box, magic("container", "ps"), magic("container", "inspect box"), magic("container", "top box")]
    for view in views:
        assert "<img" not in view._repr_html_()
    assert "onerror" in views[2]._repr_html_()
