"""What is there in the first moments of a process in a container: descriptors, directories, keys, variables."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.engines import Engine, wait_for
from support.rootfs import changed_root

from .conftest import HOST_IMAGE, Marker, Probe, in_run

NUMBERS = range(3, 21)


def test_no_working_directory_of_an_exec_leads_out(engine: Engine, busybox: str) -> None:
    # CVE-2024-21626; for run the isolation tests have it.
    name = engine.docker("run", "-d", busybox, "sleep", "600").stdout.strip()
    for number in NUMBERS:
        done = engine.docker("exec", "-w", f"/proc/self/fd/{number}", name, "sh", "-c", "pwd; ls", check=False)
        assert done.returncode != 0, number
        assert "etc" not in done.stdout


def test_no_working_directory_of_a_build_leads_out(engine: Engine, busybox: str) -> None:
    for number in (3, 4, 7, 9, 12):
        script = f"FROM {busybox}\nWORKDIR /proc/self/fd/{number}\nRUN pwd; ls; cat ../../../etc/os-release\n"
        done = engine.docker("build", "--no-cache", "-", stdin=script, check=False)
        assert done.returncode != 0, number
        assert "PRETTY_NAME" not in done.stdout + done.stderr


def test_no_link_of_an_image_leads_out_through_a_descriptor(engine: Engine) -> None:
    links = {"var": "/proc/self/fd/7", "tmp": "/proc/self/fd/9", "home": "/proc/self/cwd/../.."}
    engine.docker("import", "-", "links", stdin=changed_root(links=links), text=False)
    for name in links:
        done = engine.docker("run", "--rm", "-w", f"/{name}", "links", "/bin/ls", "-a", "/", check=False)
        if done.returncode == 0:
            assert ".dockerenv" not in done.stdout
            assert "lib64" not in done.stdout
    engine.docker("rmi", "-f", "links")


def test_an_open_directory_would_be_a_way_out() -> None:
    # The control of the three above: a descriptor that is left open is all it takes.
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    done = subprocess.run(
        ["sh", "-c", f"cd /proc/self/fd/{fd} && ls"], pass_fds=(fd,), capture_output=True, text=True, check=True
    )
    os.close(fd)
    assert "etc" in done.stdout


FDS = "import json, os; print(json.dumps(sorted(int(n) for n in os.listdir('/proc/self/fd'))))"


def test_three_descriptors_and_no_more(probe: Probe) -> None:
    assert probe(FDS) == [0, 1, 2, 3]  # 3 is the directory that is listed


def test_a_program_that_is_the_runtimes_own_leaves_the_hosts_interpreter_alone(engine: Engine) -> None:
    # CVE-2019-5736: the entry point is whatever /proc/self/exe is at the time of the exec.
    interpreter = Path(os.path.realpath(sys.executable))
    before = hashlib.sha256(interpreter.read_bytes()).hexdigest(), interpreter.stat().st_mtime_ns
    script = b"#!/proc/self/exe\nopen('/proc/self/exe', 'r+b')\n"
    engine.docker("import", "-", "selfexe", stdin=changed_root(files={"etc/hostname": script}), text=False)
    for entry in (["/proc/self/exe"], ["/proc/self/exe", "-c", "open('/proc/self/exe', 'r+b').write(b'x')"]):
        engine.docker("run", "--rm", "selfexe", *entry, check=False)
    assert (hashlib.sha256(interpreter.read_bytes()).hexdigest(), interpreter.stat().st_mtime_ns) == before
    engine.docker("rmi", "-f", "selfexe")


VARIABLES = {
    "PYTHONHOME": "/nonexistent",
    "PYTHONPATH": "/evil",
    "PYTHONSTARTUP": "/evil/start.py",
    "LD_PRELOAD": "/evil/evil.so",
    "LD_LIBRARY_PATH": "/evil",
    "LD_AUDIT": "/evil/evil.so",
    "MALLOC_CHECK_": "3",
}


def test_variables_of_a_container_reach_no_interpreter_of_ours(engine: Engine, busybox: str) -> None:
    flags = [part for name, value in VARIABLES.items() for part in ("-e", f"{name}={value}")]
    shown = engine.docker("run", "--rm", *flags, busybox, "env").stdout.splitlines()
    assert {f"{name}={value}" for name, value in VARIABLES.items()} <= set(shown)
    # The control: it would have been fatal.
    dead = subprocess.run([sys.executable, "-c", "pass"], env=VARIABLES, capture_output=True, text=True)
    assert dead.returncode != 0


KEY = """
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
SESSION = -3
def add(name): return libc.syscall(248, b"user", name, b"secret", 6, SESSION)
def find(name): return libc.syscall(250, 10, SESSION, b"user", name, 0)
%s
"""
OPEN = ("--security-opt", "seccomp=unconfined")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="calls by their numbers on x86_64")
def test_keys_of_one_container_are_not_found_in_another(engine: Engine) -> None:
    name = f"dosirak-{os.getpid()}".encode()
    made = in_run(engine, KEY % f"print(json.dumps([add({name!r}), find({name!r})]))", *OPEN)
    added, found = json.loads(made)
    assert added > 0
    assert added == found  # the control: where it was added, it is found
    assert json.loads(in_run(engine, KEY % f"print(json.dumps([find({name!r})]))", *OPEN)) == [-1]
    # Nor in a further process of a container whose first one added it.
    code = KEY % f"add({name!r}); print(json.dumps([1]), flush=True); import time; time.sleep(600)"
    box = engine.docker("run", "-d", *OPEN, HOST_IMAGE, "python3", "-c", code).stdout.strip()
    said = engine.docker("exec", box, "python3", "-c", KEY % f"print(json.dumps([find({name!r})]))").stdout
    assert json.loads(said) == [-1]


SETS = "import json; print(json.dumps(dict(l.split() for l in open('/proc/self/status') if l.startswith('Cap'))))"


def test_capabilities_are_the_same_however_a_process_came_in(probe: Probe) -> None:
    # CVE-2022-29162, CVE-2022-24769: nothing inheritable, nothing ambient.
    default, none = "00000000a80425fb", "0" * 16
    assert probe(SETS) == {
        "CapInh:": none,
        "CapPrm:": default,
        "CapEff:": default,
        "CapBnd:": default,
        "CapAmb:": none,
    }


def test_a_health_check_has_the_walls_of_its_container(engine: Engine, busybox: str) -> None:
    check = "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status; unshare -m true; echo; false"
    flags = ("--health-cmd", check, "--health-interval", "1s", "--health-retries", "1")
    own = engine.docker("run", "--rm", busybox, "sh", "-c", check.replace("false", "true")).stdout
    name = engine.docker("run", "-d", *flags, busybox, "sleep", "600").stdout.strip()

    def log() -> list[dict[str, str]]:
        return engine.client.api.inspect_container(name)["State"]["Health"]["Log"] or []  # type: ignore[no-any-return]

    wait_for(log, 15, "a health check")
    assert "Seccomp:\t2" in own
    assert own.strip() in log()[0]["Output"]
    assert "not permitted" in log()[0]["Output"]


def test_the_engine_sees_the_mark_of_a_change(marker: Marker) -> None:
    # The control of every test with a marker.
    marker.path.write_text("changed")
    with pytest.raises(AssertionError):
        marker.check()
    marker.path.write_text(marker.secret)
    os.utime(marker.path, ns=(marker._before[2],) * 2)  # type: ignore[arg-type]


# Watches every process that appears, takes what it can of it before it has become its program, and traces it.
SNIFFER = """
import ctypes, json, os
libc = ctypes.CDLL(None)
open("/tmp/ready", "w").close()
own, taken, seen = os.getpid(), set(), set()
while not os.path.exists("/tmp/stop"):
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) == own:
            continue
        for what in ("exe", "root", "cwd", "maps", "environ"):
            try:
                place = f"/proc/{pid}/{what}"
                if what in ("exe", "root", "cwd"):
                    seen.add(f"{what} {os.readlink(place)}")
                    if what == "root" and os.path.exists(place + %r):
                        taken.add("root")
                elif what == "environ" and b"DOSIRAK" in open(place, "rb").read():
                    taken.add("environ")
                elif what == "maps" and "dosirak" in open(place).read():
                    taken.add("maps")
            except OSError:
                pass
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                name = os.readlink(f"/proc/{pid}/fd/{fd}")
                harmless = ("/dev/null", "/dev/pts", "/proc", "/usr", "/bin", "/lib", "/tmp", "/etc/ld.so.cache")
                if name.startswith("/") and not name.startswith(harmless):
                    taken.add(f"fd {name}")
        except OSError:
            pass
print(json.dumps({"taken": sorted(taken), "seen": sorted(seen)}))
"""


def test_processes_that_enter_are_watched_from_inside_and_give_nothing_away(engine: Engine, marker: Marker) -> None:
    # CVE-2016-9962, CVE-2019-5736, on a running engine: exec, exec -t, health checks, cp; /proc/PID/root of each.
    flags = ("--health-cmd", "true", "--health-interval", "1s")
    box = engine.docker("run", "-d", *flags, HOST_IMAGE, "python3", "-c", SNIFFER % str(marker.path)).stdout.strip()
    wait_for(lambda: "ready" in engine.docker("exec", box, "ls", "/tmp").stdout, 15, "the sniffer")
    for _ in range(6):
        engine.docker("exec", box, "true")
        engine.docker("exec", "-t", "-u", "1000", box, "sh", "-c", "sleep 0.02")
        engine.docker("cp", f"{box}:/etc/passwd", "-")
    engine.docker("exec", box, "touch", "/tmp/stop")
    engine.docker("wait", box)
    found = json.loads(engine.docker("logs", box).stdout)
    assert found["taken"] == []
    # The control: it did see those that had arrived.
    exes = [line for line in found["seen"] if line.startswith("exe ")]
    assert exes
    assert not [line for line in exes if "python" in line]


def test_control_the_watcher_sees_the_hosts_file_where_it_was_given(engine: Engine, marker: Marker) -> None:
    flags = ("-v", f"{marker.folder}:{marker.folder}:ro")
    box = engine.docker("run", "-d", *flags, HOST_IMAGE, "python3", "-c", SNIFFER % str(marker.path)).stdout.strip()
    wait_for(lambda: "ready" in engine.docker("exec", box, "ls", "/tmp").stdout, 15, "the sniffer")
    engine.docker("exec", box, "sleep", "0.5")
    engine.docker("exec", box, "touch", "/tmp/stop")
    engine.docker("wait", box)
    assert "root" in json.loads(engine.docker("logs", box).stdout)["taken"]


TRACING = """
import ctypes, json, os
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
SEIZE, CONT, ANY = 0x4206, 7, 0x40000000
traced, refused = set(), 0
open("/tmp/ready", "w").close()
while not os.path.exists("/tmp/stop"):
    for pid in os.listdir("/proc"):
        if pid.isdigit() and pid not in traced and int(pid) != os.getpid():
            if libc.ptrace(SEIZE, int(pid), None, None) == 0:
                traced.add(pid)
                try:
                    traced.add(os.readlink(f"/proc/{pid}/exe"))
                except OSError:
                    pass
            else:
                refused += 1
    try:
        while (stopped := os.waitpid(-1, os.WNOHANG | ANY))[0]:
            libc.ptrace(CONT, stopped[0], None, None)
    except ChildProcessError:
        pass
print(json.dumps({"exes": sorted(name for name in traced if not name.isdigit()), "refused": refused}))
"""


def test_no_entering_process_is_traced_before_it_is_its_program(engine: Engine) -> None:
    box = engine.docker("run", "-d", HOST_IMAGE, "python3", "-c", TRACING).stdout.strip()
    for _ in range(8):
        engine.docker("exec", box, "sleep", "0.1", timeout=20)
    engine.docker("exec", box, "touch", "/tmp/stop", timeout=20)
    wait_for(lambda: not engine.client.api.inspect_container(box)["State"]["Running"], 15, "the tracer's end")
    found = json.loads(engine.docker("logs", box).stdout)
    assert any("sleep" in name or "coreutils" in name for name in found["exes"])  # the control: what has arrived can be
    assert not [name for name in found["exes"] if "python" in name]
