"""What a hostile image, container or client has put into the words that others read: errors, sizes, logs."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from support.engines import Engine, wait_for

from .test_names import ask

TITLE = "\x1b]0;owned\x07"
COPY = "\x1b]52;c;b3duZWQ=\x07"
TURNED = "\u202egnp.exe"
UNSEEN = ("\x1b", "\x07", "\u202e", "\x9b", "\r\x1b")


@pytest.mark.parametrize("text", [TITLE, COPY, TURNED, "\x9b31m"])
def test_no_error_carries_commands_to_a_terminal(engine: Engine, busybox: str, text: str) -> None:
    name = engine.docker("run", "-d", busybox, "sleep", "600").stdout.strip()
    for arguments in (
        ["run", "--rm", busybox, text],
        ["run", "--rm", "--entrypoint", f"/bin/{text}", busybox],
        ["run", "--rm", "--user", text, busybox, "true"],
        ["run", "--rm", "-w", f"/etc/passwd/{text}", busybox, "true"],
        ["run", "--rm", "-v", f"/etc/passwd:/bin/busybox/{text}", busybox, "true"],
        ["exec", name, text],
        ["exec", "--user", f"a:{text}", name, "true"],
        ["exec", "-w", f"/{text}", name, "true"],
        ["cp", f"{name}:/{text}", "-"],
        ["network", "connect", f"n{text}", name],
        ["volume", "create", f"v{text}"],
        ["create", "--log-driver", text, busybox],
        ["create", "--cap-add", text, busybox],
        ["create", "--network", text, busybox],
    ):
        done = engine.docker(*arguments, check=False)
        said = done.stdout + done.stderr
        # Whether there is such a network is asked when the container starts.
        assert done.returncode or "--network" in arguments, arguments
        assert not [mark for mark in UNSEEN if mark in said], (arguments, said)
    for file in (f"FROM {busybox}\n{text} x\n", f'FROM {busybox}\nRUN ["{json.dumps(text)[1:-1]}"]\n', f"FROM x{text}"):
        done = engine.docker("build", "-", stdin=file, check=False)
        assert done.returncode
        assert not [mark for mark in UNSEEN if mark in done.stdout + done.stderr.split("\n ---> ")[-1]], file


def test_the_same_words_do_get_through_where_they_are_output(engine: Engine, busybox: str) -> None:
    # The control: a terminal would have got them; what a container writes is passed as it is, as docker does.
    assert engine.docker("run", "--rm", busybox, "printf", TITLE).stdout == TITLE


def test_a_name_that_is_no_text_is_no_defect(engine: Engine, busybox: str) -> None:
    script = r"""cd /tmp; ln -s "$(printf '/x\377\033]0;y\007')" link; touch "$(printf 'a\377')"; sleep 600"""
    name = engine.docker("run", "-d", busybox, "sh", "-c", script).stdout.strip()
    wait_for(lambda: "/tmp/a" in engine.docker("diff", name).stdout, 10, "the names")
    assert ask(engine, "HEAD", f"/v1.43/containers/{name}/archive?path=/tmp/link")[0] == 200
    for path in ("changes", "archive?path=/tmp", "top", "json?size=1", "logs?stdout=1"):
        assert ask(engine, "GET", f"/v1.43/containers/{name}/{path}")[0] == 200
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as made:
        made.addfile(tarfile.TarInfo("passwd/\udcff\x1b]0;x\x07"))
    status, said = _put(engine, name, archive.getvalue())
    assert status == 400
    assert "\\x1b" in json.loads(said)["message"]


def _put(engine: Engine, name: str, body: bytes) -> tuple[int, str]:
    from .test_names import _Unix

    connection = _Unix(str(engine.socket))
    connection.request(
        "PUT", f"/v1.43/containers/{name}/archive?path=/etc", body, {"Content-Type": "application/x-tar"}
    )
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def test_a_tree_without_end_costs_nobody_else_his_listing(engine: Engine, busybox: str) -> None:
    # Deeper than Python's stack; the size of this one is part of what is told about all.
    deep = "i=0; while [ $i -lt 1200 ]; do mkdir d && cd d; i=$((i+1)); done; touch end"
    script = f"cd /tmp && {deep}; cd /v && {deep}; sleep 600"
    name = engine.docker("run", "-d", "-v", "/v", busybox, "sh", "-c", script).stdout.strip()
    try:
        volume = Path(engine.client.api.inspect_container(name)["Mounts"][0]["Source"])
        end = "d/" * 1200 + "end"
        wait_for((volume / end).exists, 30, "the trees")
        told = engine.docker("diff", name).stdout.splitlines()
        assert told[:3] == ["C /tmp", "A /tmp/d", "A /tmp/d/d"]
        assert len(told) >= 1202
        engine.docker("ps", "--size")
        engine.docker("system", "df", "-v")
        engine.docker("commit", name, "deep")
        assert engine.docker("run", "--rm", "deep", "ls", f"/tmp/{end}").returncode == 0
    finally:
        engine.docker("rm", "-f", "-v", name)
        engine.docker("rmi", "-f", "deep", check=False)


def test_the_log_of_the_service_has_a_line_for_each_event(engine: Engine) -> None:
    # %0a in a path, %1b in a query: neither a second line nor a command to whoever reads the log.
    ask(engine, "GET", "/v1.43/containers/x%0a2026-01-01%20INFO%20forged%1b[2J/json")
    ask(engine, "GET", "/v1.43/nothing%0a2026-01-01%20INFO%20forged")
    ask(engine, "POST", "/v1.43/networks/create", {"Name": "n\n2026-01-01 INFO forged\x1b[2J", "Driver": "none\nx"})
    assert not [line for line in engine.log.splitlines() if line.startswith("2026-01-01")]
    assert "\x1b" not in engine.log
