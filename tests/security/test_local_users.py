"""Another user of the same machine: sockets, folders, settings and names in /tmp."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dosirak.engine import settings as engine_settings
from dosirak.engine import start
from dosirak.engine.settings import Settings
from support.engines import Engine, session_base

from .test_mounts import opened

STRANGER = 65534


def as_stranger(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python run by somebody without any right here."""
    python = os.path.realpath(sys.executable) if os.access(sys.executable, os.X_OK) else "python3"
    for program in ("/usr/bin/python3", python):
        if os.path.exists(program):
            return subprocess.run(
                [program, "-c", code, *arguments],
                user=STRANGER,
                group=STRANGER,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                text=True,
            )
    pytest.skip("there is no Python that others may run")


LOOK = """
import json, os, socket, sys
found = {}
for path in sys.argv[1:]:
    try:
        os.stat(path)
        found[path] = "seen"
        kind = socket.SOCK_SEQPACKET if path.endswith("names.sock") else socket.SOCK_STREAM
        made = socket.socket(socket.AF_UNIX, kind)
        made.connect(path)
        made.send(b"GET /info HTTP/1.0\\r\\n\\r\\n")
        found[path] = "answered" if made.recv(10) else "refused"
    except OSError as error:
        found.setdefault(path, error.errno)
print(json.dumps(found))
"""


def test_nobody_else_gets_to_the_engines_sockets(engine: Engine, busybox: str) -> None:
    engine.docker("network", "create", "named")
    name = engine.docker("run", "-d", "--net", "named", busybox, "sleep", "600").stdout.strip()
    run, data = engine.settings.run, engine.settings.data
    paths = [
        str(path) for folder in (run, data / "containers" / name) for path in folder.rglob("*") if path.is_socket()
    ]
    assert str(engine.socket) in paths
    with opened(run.parent, run.parent.parent):
        assert set(json.loads(as_stranger(LOOK, *paths, str(data / "state.db")).stdout).values()) == {13}
        # Each lock stands alone: with the folder open, the socket's mode; with both, the kernel's word on who asks.
        with opened(run):
            assert json.loads(as_stranger(LOOK, str(engine.socket)).stdout) == {str(engine.socket): "seen"}
            engine.socket.chmod(0o666)
            said = json.loads(as_stranger(LOOK, str(engine.socket)).stdout)
            assert said[str(engine.socket)] != "answered"
            engine.socket.chmod(0o600)
    engine.remove_containers()
    engine.docker("network", "rm", "named")


def test_a_socket_without_locks_does_answer_a_stranger(tmp_path_factory: pytest.TempPathFactory) -> None:
    # The control of the one above.
    folder = session_base() / "open"
    folder.mkdir()
    path = folder / "a.sock"
    with socket.socket(socket.AF_UNIX) as listener, opened(folder, session_base()):
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(1000)
                client.send(b"HTTP/1.0 200")

        thread = threading.Thread(target=answer)
        thread.start()
        said = as_stranger(LOOK, str(path))
        thread.join()
    path.unlink()
    folder.rmdir()
    assert json.loads(said.stdout) == {str(path): "answered"}


PRETENDER = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
listener.listen()
print("up", flush=True)
while True:
    client, _ = listener.accept()
    try:
        client.recv(1000)
        client.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nOK")
    except OSError:
        pass
    client.close()
"""


@pytest.fixture
def pretender() -> Iterator[Path]:
    """The run directory of a stranger who answers as an engine would."""
    folder = session_base() / "strange"
    folder.mkdir()
    os.chown(folder, STRANGER, STRANGER)
    with opened(session_base()):
        process = subprocess.Popen(
            ["/usr/bin/env", "python3", "-c", PRETENDER, str(folder / "dosirak.sock")],
            user=STRANGER,
            group=STRANGER,
            extra_groups=[],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        if not process.stdout.readline():
            pytest.skip("there is no Python that others may run")
        yield folder
        process.kill()
        process.wait()
        process.stdout.close()
    (folder / "dosirak.sock").unlink()
    folder.rmdir()


def test_a_stranger_who_answers_is_no_engine(pretender: Path, tmp_path: Path) -> None:
    # He had the folder first, as anybody can in /tmp: a client must not tell him passwords and build contexts.
    assert not start.answers(pretender / "dosirak.sock")
    with pytest.raises(start.ServiceNotStartable, match="not a directory of this user"):
        start.ensure(Settings(data=tmp_path / "data", run=pretender))
    # The control: he does answer, in the words of an engine.
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(pretender / "dosirak.sock"))
        probe.sendall(b"HEAD /_ping HTTP/1.0\r\n\r\n")
        assert probe.recv(5) == b"HTTP/"


@pytest.mark.parametrize("kind", ["link", "file", "folder"])
def test_a_run_directory_that_a_stranger_made_is_not_used(kind: str, tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "link":
        run.symlink_to(elsewhere)
    elif kind == "file":
        run.write_text("")
    else:
        run.mkdir()
        os.chown(run, STRANGER, STRANGER)
    with pytest.raises(start.ServiceNotStartable):
        start.ensure(Settings(data=tmp_path / "data", run=run))
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["lock", "service.log"])
def test_a_link_in_the_run_directory_is_not_followed(name: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "run" / name).symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        start.ensure(Settings(data=tmp_path / "data", run=tmp_path / "run"))
    assert victim.read_text() == "mine"


def test_without_a_runtime_directory_the_one_in_tmp_is_looked_at_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_RUNTIME_DIR", "DOSIRAK_RUN", "DOSIRAK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    # A folder in it could be made by whoever made it; its own owner is checked, and /tmp is sticky.
    assert engine_settings.load().run == Path("/tmp/dosirak-1234")


def test_settings_in_a_folder_of_somebody_elses_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DOSIRAK_ROOT", "DOSIRAK_RUN", "SUDO_UID"):
        monkeypatch.delenv(name, raising=False)
    found = tmp_path / "dosirak.toml"
    found.write_text('root = "/evil"\n')
    assert engine_settings.load().data == Path("/evil")  # the control: one's own counts
    found.chmod(0o666)
    assert engine_settings.load().data != Path("/evil")
    found.chmod(0o644)
    os.chown(found, STRANGER, STRANGER)
    assert engine_settings.load().data != Path("/evil")
    monkeypatch.setenv("SUDO_UID", str(STRANGER))
    assert engine_settings.load().data == Path("/evil")


def test_what_the_engine_makes_is_closed_to_others(engine: Engine, busybox: str) -> None:
    secret = secrets.token_hex(16)
    box = engine.client.containers.run(
        busybox, ["sleep", "600"], detach=True, volumes=["/v"], environment={"SECRET": secret}
    )
    engine.client.api.exec_start(engine.client.api.exec_create(box.id, "true", environment={"AGAIN": secret}))
    bad = []
    for top in (engine.settings.data, engine.settings.run):
        assert top.stat().st_mode & 0o007 == 0
        bad += [str(path) for path in top.iterdir() if path.lstat().st_mode & 0o022 and not path.is_symlink()]
    assert bad == []
    # Nor does what they have been given show in a command line: anybody reads those.
    box.reload()
    assert secret.encode() in Path(f"/proc/{box.attrs['State']['Pid']}/environ").read_bytes()  # the control
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            assert secret.encode() not in Path(f"/proc/{process}/cmdline").read_bytes()
