"""Whoever talks to the engine without a right to: from the network, from a web page, from a container."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from support.engines import Engine
from support.host import engine_processes

from .conftest import HOST_IMAGE, command


def _sockets(pid: int) -> set[int]:
    """The inodes of a process's sockets."""
    found = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            name = os.readlink(fd)
        except OSError:
            continue
        if name.startswith("socket:["):
            found.add(int(name[8:-1]))
    return found


def _internet(pid: int) -> set[int]:
    """The inodes of the TCP and UDP sockets in a process's network namespace that wait for anybody."""
    found = set()
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] in ("0A", "07"):  # listening; unconnected
                found.add(int(words[9]))
    return found


def _abstract(pid: int) -> set[int]:
    """The inodes of the unix sockets with an abstract name in a process's network namespace."""
    lines = Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]
    return {int(line.split()[6]) for line in lines if " @" in line}


def test_control_a_socket_with_an_abstract_name_and_one_that_listens_are_seen() -> None:
    with socket.socket(socket.AF_UNIX) as named, socket.socket() as listener:
        named.bind(f"\0dosirak-test-{os.getpid()}")
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        held = _sockets(os.getpid())
        assert held & _abstract(os.getpid())
        assert held & _internet(os.getpid())


def test_the_engine_listens_in_no_network_and_under_no_abstract_name(engine: Engine, busybox: str) -> None:
    # CVE-2020-15257: containerd's shim listened under an abstract name, which a container of the host network reached.
    # And no web page, by DNS rebinding or otherwise, reaches what is no address.
    assert not _sockets(engine.pid) & _internet(engine.pid)
    engine.docker("network", "create", "listening")
    engine.docker("run", "-d", "--net", "listening", "-p", "127.0.0.1::80", busybox, "sleep", "600")
    own = [process for process in engine_processes("DOSIRAK_TESTS_BASE") if "dosirak" in process.command]
    assert own
    bad = {}
    for process in own:
        try:
            held, listening = _sockets(process.pid), _internet(process.pid)
            abstract = _abstract(process.pid)
        except OSError:
            continue  # it has just ended
        # A published port is held against other programs; the names of a network are told inside of it, to its own.
        told = process.is_service or "dns/server.py" in process.command
        if held & abstract or (held & listening and not told):
            bad[str(process)] = held & (abstract | listening)
    assert bad == {}
    engine.remove_containers()
    engine.docker("network", "rm", "listening")


LOOKING = """
import json, os, socket
found = {"abstract": [], "listening": 0}
for line in open("/proc/net/unix").read().splitlines()[1:]:
    words = line.split()
    if len(words) > 7 and words[7].startswith("@"):
        try:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            made.settimeout(1)
            made.connect("\\0" + words[7][1:])
            made.send(b"GET /_ping HTTP/1.0\\r\\n\\r\\n")
            found["abstract"].append([words[7], made.recv(100).decode(errors="replace")])
        except OSError:
            pass
for path in %r:
    try:
        made = socket.socket(socket.AF_UNIX)
        made.connect(path)
        found["listening"] += 1
    except OSError:
        pass
print(json.dumps(found))
"""


@pytest.mark.parametrize("network", ["host", "shared"])
def test_a_container_of_the_hosts_network_finds_no_socket_of_the_engines(engine: Engine, network: str) -> None:
    paths = [str(path) for path in engine.settings.run.rglob("*.sock")]
    assert paths
    if network == "shared":
        engine.docker("run", "-d", "--name", "partner", HOST_IMAGE, "sleep", "600")
    flags = ("--net", "host" if network == "host" else "container:partner")
    said = engine.docker("run", "--rm", *flags, HOST_IMAGE, *command(LOOKING % paths)).stdout
    found = json.loads(said)
    assert found["listening"] == 0
    assert [name for name, answer in found["abstract"] if "HTTP" in answer] == []


def test_control_a_container_that_is_given_the_socket_has_the_engine(engine: Engine) -> None:
    code = f"""
import json, socket
made = socket.socket(socket.AF_UNIX)
made.connect("/run/{engine.socket.name}")
made.send(b"GET /_ping HTTP/1.0\\r\\n\\r\\n")
print(json.dumps([made.recv(7).decode()]))
"""
    flags = ("-v", f"{engine.socket}:/run/{engine.socket.name}")
    assert json.loads(engine.docker("run", "--rm", *flags, HOST_IMAGE, *command(code)).stdout) == ["HTTP/1."]


def test_a_container_does_not_see_the_hosts_processes_sockets_or_files(engine: Engine) -> None:
    code = """
import json, os
pids = [name for name in os.listdir("/proc") if name.isdigit()]
unix = len(open("/proc/net/unix").readlines()) - 1
print(json.dumps({"pids": len(pids), "unix": unix, "links": sorted(os.listdir("/sys/class/net"))}))
"""
    found = json.loads(engine.docker("run", "--rm", HOST_IMAGE, *command(code)).stdout)
    assert found["pids"] == 1
    assert found["unix"] == 0
    assert found["links"] == ["eth0", "lo"]
    host = json.loads(engine.docker("run", "--rm", "--net", "host", "--pid", "host", HOST_IMAGE, *command(code)).stdout)
    assert host["pids"] > 1  # the control
    assert host["links"] != ["eth0", "lo"]
