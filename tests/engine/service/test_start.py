"""Finding or starting the one service of an engine root, whatever was left behind and whoever else starts it."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dosirak.engine import start
from dosirak.engine.settings import Settings
from support.engines import Engine, alive, new_settings, wait_for

ENSURE = (
    "import sys, pathlib; from dosirak.engine import start, settings;"
    "start.ensure(settings.Settings(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])));"
)


@pytest.fixture
def own() -> Iterator[Engine]:
    """An engine that is not running yet, removed afterwards."""
    engine = Engine(new_settings("b"))
    yield engine
    engine.stop()


def pinged(path: Path) -> bool:
    connection = http.client.HTTPConnection("docker")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request("GET", "/_ping")
    answer = connection.getresponse().read()
    connection.close()
    return answer == b"OK"


def status(pid: int, field: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line for line in lines if line.startswith(f"{field}:")).split(":", 1)[1].strip()


def test_the_first_client_starts_the_service_and_the_next_ones_find_it(own: Engine) -> None:
    assert pinged(start.ensure(own.settings))
    pid = own.pid
    began = time.perf_counter()
    assert start.ensure(own.settings) == own.settings.socket
    assert time.perf_counter() - began < 0.05
    assert own.pid == pid


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle_and_whole() -> tuple[int, int]:
    """Ticks of all processors since the boot: idle ones, and all (proc_stat(5))."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    return ticks[3] + ticks[4], sum(ticks)


def test_the_service_is_ready_within_400_ms(own: Engine) -> None:
    start.ensure(own.settings)  # compiles what was not compiled yet
    times, cpu = [], []
    idle, whole = idle_and_whole()
    for _ in range(5):
        own.kill(signal.SIGTERM)
        began = time.perf_counter()
        path = start.ensure(own.settings)
        assert pinged(path)
        times.append(time.perf_counter() - began)
        cpu.append(cpu_seconds(own.pid))
    # The best of five; where other tests keep the processors busy, the time the service had one of them.
    busy = (idle_and_whole()[0] - idle) / (idle_and_whole()[1] - whole) < 0.25
    assert min(times) < 0.4 or (busy and min(cpu) < 0.4), f"wall {times}, processor {cpu} s"


def test_clients_that_start_it_at_the_same_moment_get_one_service(own: Engine) -> None:
    arguments = [str(own.settings.data), str(own.settings.run)]
    code = ENSURE + "print((pathlib.Path(sys.argv[2]) / 'lock').read_text())"
    starters = [
        subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    pids = {starter.communicate(timeout=60)[0].strip() for starter in starters}
    assert pids == {str(own.pid)}
    assert [starter.returncode for starter in starters] == [0] * 4
    assert own.log.count("listening on") == 1


def test_a_killed_service_leaves_a_socket_and_a_lock_that_the_next_one_replaces(own: Engine) -> None:
    start.ensure(own.settings)
    first = own.pid
    own.kill(signal.SIGKILL)
    assert own.settings.socket.exists()
    assert pinged(start.ensure(own.settings))
    assert own.pid != first


def test_files_that_are_no_sockets_are_replaced_too(own: Engine) -> None:
    own.settings.run.mkdir(parents=True, mode=0o700)
    own.settings.socket.write_text("not a socket")
    (own.settings.run / "lock").write_text("999999999\n")
    assert pinged(start.ensure(own.settings))


def test_only_this_user_reaches_the_socket_and_the_store(own: Engine) -> None:
    own.settings.run.mkdir(parents=True, mode=0o755)
    os.chmod(own.settings.run, 0o755)
    before = os.umask(0)
    try:
        start.ensure(own.settings)
    finally:
        os.umask(before)
    modes = {path: oct(path.stat().st_mode & 0o777) for path in (own.settings.socket, own.settings.run)}
    assert modes == {own.settings.socket: "0o600", own.settings.run: "0o700"}
    assert own.settings.data.stat().st_mode & 0o777 == 0o710
    assert (own.settings.run / "service.log").stat().st_mode & 0o077 == 0


def test_nothing_odd_of_the_notebook_reaches_the_service(own: Engine, tmp_path: Path) -> None:
    # A caller with ignored and blocked signals, an inheritable descriptor, a low limit, a strange directory.
    code = (
        "import os, resource, signal;"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGUSR1, signal.SIG_IGN);"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGTERM});"
        "os.set_inheritable(os.open('/etc/passwd', os.O_RDONLY), True);"
        "os.environ['SECRET_TOKEN'] = 'hunter2';"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1];"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard));"
        "resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]));"
    ) + ENSURE
    arguments = [sys.executable, "-c", code, str(own.settings.data), str(own.settings.run)]
    subprocess.run(arguments, check=True, cwd=tmp_path, timeout=60)
    pid = own.pid
    ignored = int(status(pid, "SigIgn"), 16)
    assert not ignored & (1 << (signal.SIGUSR1 - 1) | 1 << (signal.SIGTERM - 1))
    assert int(status(pid, "SigBlk"), 16) == 0
    targets = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    assert "/etc/passwd" not in targets
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert b"hunter2" not in Path(f"/proc/{pid}/environ").read_bytes()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = Path(f"/proc/{pid}/limits").read_text()
    soft = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3]
    assert int(soft) == min(hard, 1 << 20)


def children() -> set[str]:
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def test_the_service_is_a_session_of_its_own_and_not_the_notebooks_child(own: Engine) -> None:
    before = children()
    start.ensure(own.settings)
    assert int(status(own.pid, "PPid")) != os.getpid()
    assert os.getsid(own.pid) != os.getsid(0)
    assert children() <= before  # nothing is left for this process to reap, zombies count too


def test_a_path_too_long_for_a_unix_socket_says_so(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "data", tmp_path / ("r" * 100))
    with pytest.raises(start.ServiceNotStartable, match=r"too long for a unix socket.*DOSIRAK_RUN"):
        start.ensure(settings)


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    os.chown(run, 12345, 12345)
    with pytest.raises(start.ServiceNotStartable, match="not a directory of this user"):
        start.ensure(Settings(tmp_path / "data", run))


def test_a_link_in_the_place_of_the_run_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(start.ServiceNotStartable, match="not a directory of this user"):
        start.ensure(Settings(tmp_path / "data", tmp_path / "run"))


def test_a_file_in_the_place_of_a_directory_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(start.ServiceNotStartable, match="DOSIRAK_ROOT"):
        start.ensure(Settings(tmp_path / "data", tmp_path / "run"))


def test_an_ordinary_user_is_told_which_directory_can_not_be_had(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from dosirak.engine import start, settings; os.setuid(65534)\n"
        "try: start.ensure(settings.Settings(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))\n"
        "except start.ServiceNotStartable as error: print(error.message)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "d"), str(tmp_path / "r")], capture_output=True, text=True
    )
    assert str(tmp_path) in done.stdout
    assert "DOSIRAK_ROOT" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without a name")
def test_a_user_without_a_home_is_told_what_to_set_and_needs_none_once_it_is_set(tmp_path: Path) -> None:
    code = (
        "import os, sys; from dosirak.engine import settings; os.setuid(34567)\n"
        "from dosirak.engine.errors import EngineError\n"
        "try: print(settings.load().data)\n"
        "except EngineError as error: print(error)"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path[1:])}

    def say(**more: str) -> str:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", env={**environment, **more})
        assert done.stderr == ""
        return done.stdout

    assert say() == "user 34567 has no home directory: set HOME, or DOSIRAK_ROOT to a folder of yours\n"
    assert say(DOSIRAK_ROOT="/somewhere") == "/somewhere\n"
    assert say(XDG_DATA_HOME="/somewhere") == "/somewhere/dosirak\n"
    assert say(HOME="/somewhere") == "/somewhere/.local/share/dosirak\n"


def test_a_service_that_can_not_start_says_why_to_its_starter(own: Engine) -> None:
    own.settings.data.mkdir(parents=True, exist_ok=True)
    database = own.settings.data / "state.db"
    database.write_bytes(b"this is no database, and longer than a header" * 100)
    with pytest.raises(start.ServiceNotStartable, match=r"state\.db.*not a database"):
        start.ensure(own.settings)
    assert not own.settings.socket.exists()
    database.unlink()


def test_a_second_service_on_the_same_root_is_refused_and_told_who_has_it(own: Engine) -> None:
    start.ensure(own.settings)
    other = Settings(own.settings.data, own.settings.run.with_name("run2"))
    with pytest.raises(start.ServiceNotStartable, match=rf"another engine service \(pid {own.pid}\)"):
        start.ensure(other)


def test_a_foreground_service_refuses_to_run_beside_another(own: Engine) -> None:
    start.ensure(own.settings)
    done = subprocess.run(
        [sys.executable, "-m", "dosirak.engine.service"],
        env={**os.environ, "DOSIRAK_ROOT": str(own.settings.data), "DOSIRAK_RUN": str(own.settings.run)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert f"another engine service (pid {own.pid})" in done.stderr
    assert pinged(own.settings.socket)


def test_a_service_in_the_foreground_ends_with_ctrl_c(own: Engine) -> None:
    foreground = subprocess.Popen(
        [sys.executable, "-m", "dosirak.engine.service"],
        env={**os.environ, "DOSIRAK_ROOT": str(own.settings.data), "DOSIRAK_RUN": str(own.settings.run)},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(own.settings.socket.exists, 20)
    wait_for(lambda: pinged(own.settings.socket), 20)
    foreground.send_signal(signal.SIGINT)
    _, log = foreground.communicate(timeout=20)
    assert foreground.returncode == 0
    assert "listening on" in log
    assert not own.settings.socket.exists()


def test_an_idle_service_goes_and_the_next_client_starts_another(own: Engine) -> None:
    idle = Settings(own.settings.data, own.settings.run, idle_timeout=0.4)
    start.ensure(idle)
    first = own.pid
    wait_for(lambda: not alive(first), 20, "the idle service to end")
    assert not own.settings.socket.exists()
    assert "idle for" in own.log
    assert pinged(start.ensure(own.settings))
    assert own.pid != first


def test_a_service_that_is_asked_something_does_not_go(own: Engine) -> None:
    idle = Settings(own.settings.data, own.settings.run, idle_timeout=0.6)
    path = start.ensure(idle)
    first = own.pid
    for _ in range(15):
        assert pinged(path)
        time.sleep(0.1)
    assert own.pid == first
    assert alive(first)


def test_no_client_is_lost_while_the_service_goes_away(own: Engine) -> None:
    """Knock around the moment of leaving: each either gets an answer or starts the next service."""
    idle = Settings(own.settings.data, own.settings.run, idle_timeout=0.1)
    for pause in (0.09, 0.1, 0.11, 0.12, 0.13, 0.15):
        path = start.ensure(idle)
        time.sleep(pause)
        try:
            assert pinged(path)
        except (FileNotFoundError, ConnectionRefusedError):
            assert pinged(start.ensure(idle))
