"""An ordinary user's engine, whole: `test_as_user` and `make test-rootless` run it as that user."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.engines import Engine, alive, wait_for
from support.rootless import FIRST, UID, VARIABLE

pytestmark = pytest.mark.skipif(os.environ.get(VARIABLE) != "outside", reason="test_as_user runs it")

SERVE = "echo $0 > /index.html; httpd -f -p 80 -h /"


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def fetch(port: int) -> str:
    """What the web server behind a port has to say, once it is up."""
    found = ""

    def got() -> bool:
        nonlocal found
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/index.html", timeout=5) as answer:
                found = answer.read().decode().strip()
        except OSError:
            return False
        return True

    wait_for(got, 15, f"a web server on port {port}")
    return found


@contextlib.contextmanager
def outside() -> Iterator[tuple[str, int]]:
    """A server that says hello at an address of this machine which is not its loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))  # sends nothing: which address would it be from?
        except OSError:
            pytest.skip("this machine has no way out either")
        address = asked.getsockname()[0]

    class Hello(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"hello\n")

    with socketserver.ThreadingTCPServer((address, 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield address, server.server_address[1]
        server.shutdown()


def keeper_of(engine: Engine) -> int:
    """The pid of the process at the other end of the keeper's socket."""
    import struct

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(str(engine.settings.run / "keeper.sock"))
        return int(struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def members(keeper: int) -> list[str]:
    """The command lines of all processes in the keeper's user namespace."""
    space = os.readlink(f"/proc/{keeper}/ns/user")
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.readlink(f"/proc/{name}/ns/user") == space:
                    found.append(Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found


def test_root_inside_is_the_user_and_others_are_of_its_range(docker: Callable, busybox: str) -> None:
    maps = docker("run", "--rm", "--network", "none", busybox, "cat", "/proc/self/uid_map").stdout.split()
    assert maps[:6] == ["0", str(UID), "1", "1", str(FIRST), "65536"]
    assert "uid=1000(user)" in docker("run", "--rm", "--network", "none", "-u", "user", busybox, "id").stdout


def test_the_service_is_in_the_hosts_network_and_root_of_its_own_namespace(engine: Engine) -> None:
    assert os.readlink(f"/proc/{engine.pid}/ns/net") == os.readlink("/proc/self/ns/net")
    assert os.readlink(f"/proc/{engine.pid}/ns/user") != os.readlink("/proc/self/ns/user")


def test_the_api_says_that_it_is_rootless_and_has_no_cgroups(engine: Engine) -> None:
    info = engine.client.info()
    assert "name=rootless" in info["SecurityOptions"]
    assert "name=apparmor" not in info["SecurityOptions"]  # whatever the host has: only its root can load profiles
    if info["CgroupDriver"] == "none":
        assert not info["MemoryLimit"]


def test_a_published_port_is_carried_to_the_container_and_follows_it(docker: Callable, busybox: str) -> None:
    port = free_port()
    docker("run", "-d", "--name", "web", "-p", f"{port}:80", busybox, "sh", "-c", SERVE, "first")
    assert fetch(port) == "first"
    docker("restart", "-t", "0", "web")
    assert fetch(port) == "first"
    docker("rm", "-f", "web")
    docker("run", "-d", "--name", "web", "-p", f"127.0.0.1:{port}:80", busybox, "sh", "-c", SERVE, "second")
    assert fetch(port) == "second"
    docker("rm", "-f", "web")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_a_port_that_somebody_has_is_told_of(docker: Callable, busybox: str) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        done = docker("run", "--rm", "-p", f"{port}:80", busybox, "true", check=False)
    assert "address already in use" in done.stderr


def test_a_low_port_is_refused_with_what_would_help(docker: Callable, busybox: str) -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) < 100:
        pytest.skip("this host lets everybody have low ports")
    done = docker("run", "--rm", "-p", "99:80", busybox, "true", check=False)
    assert "net.ipv4.ip_unprivileged_port_start=99" in done.stderr


def test_neighbours_find_each_other_by_name_and_not_other_networks(docker: Callable, busybox: str) -> None:
    for name in ("one", "two"):
        docker("network", "create", f"net-{name}")
    docker("run", "-d", "--name", "server", "--network", "net-one", busybox, "sh", "-c", SERVE, "here")
    ask = 'printf "GET / HTTP/1.0\\r\\n\\r\\n" | nc server 80'
    wait_for(
        lambda: "here" in docker("run", "--rm", "--network", "net-one", busybox, "sh", "-c", ask, check=False).stdout
    )
    done = docker("run", "--rm", "--network", "net-two", busybox, "nslookup", "server", check=False)
    assert done.returncode
    docker("rm", "-f", "server")
    docker("network", "rm", "net-one", "net-two")


def test_what_leads_outside_reaches_the_users_own_address_but_not_its_loopback(docker: Callable, busybox: str) -> None:
    routes = subprocess.run(["cat", "/proc/net/route"], capture_output=True, text=True).stdout
    if len(routes.splitlines()) < 2:
        pytest.skip("this machine has no way out either")
    with socket.socket() as local:
        local.bind(("127.0.0.1", 0))
        local.listen()
        gateway = docker("run", "--rm", busybox, "sh", "-c", "ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'")
        for address in ("127.0.0.1", gateway.stdout.strip()):
            port = str(local.getsockname()[1])
            done = docker("run", "--rm", busybox, "nc", "-w", "1", address, port, stdin="", check=False)
            assert done.returncode, address


def test_a_limit_that_can_not_be_kept_is_a_warning(engine: Engine, docker: Callable, busybox: str) -> None:
    if engine.client.info()["CgroupDriver"] != "none":
        pytest.skip("this user has been given cgroups")
    done = docker("run", "--rm", "--network", "none", "-m", "64m", "--cpus", "0.5", busybox, "echo", "ran")
    assert done.stdout == "ran\n"
    assert "does not support memory limit" in done.stderr
    assert "CPUs discarded" in done.stderr


def test_a_build_gives_files_to_others_and_hides_what_is_below(docker: Callable, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {busybox}\nRUN mkdir /old && touch /old/file /gone && chown 1000:29 /old/file\n"
        "RUN rm -r /old /gone && mkdir /old && touch /old/new\nCOPY --chown=7:8 Dockerfile /copied\nUSER user\n"
    )
    docker("build", "-q", "-t", "built", tmp_path)
    found = docker(
        "run", "--rm", "built", "sh", "-c", "id -u; ls /old; stat -c %u:%g /copied; ls /gone 2>&1", check=False
    )
    assert found.stdout.split()[:3] == ["1000", "new", "7:8"]
    assert "No such file" in found.stdout
    archive = tmp_path / "built.tar"
    docker("save", "-o", archive, "built")
    docker("rmi", "-f", "built")
    docker("load", "-i", archive)
    assert docker("run", "--rm", "built", "ls", "/old").stdout == "new\n"
    docker("rmi", "-f", "built")


def test_an_owner_beyond_the_range_is_named_with_what_to_do(docker: Callable, busybox: str, tmp_path: Path) -> None:
    import io
    import tarfile

    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        member = tarfile.TarInfo("far")
        member.uid = 70000
        archive.addfile(member)
    done = docker("import", "-", "far", stdin=data.getvalue(), text=False, check=False)
    assert b"owner 70000:0" in done.stderr
    assert b"/etc/subuid" in done.stderr
    done = docker("run", "--rm", "-u", "70000", busybox, "id", check=False)
    assert "/etc/subuid" in done.stderr


def test_a_killed_service_is_followed_by_one_that_has_the_containers(fresh_engine: Engine) -> None:
    engine, image, port = fresh_engine, fresh_engine.import_busybox(), free_port()
    engine.docker("run", "-d", "--name", "web", "-p", f"{port}:80", image, "sh", "-c", SERVE, "on")
    assert fetch(port) == "on"
    keeper = keeper_of(engine)
    engine.kill()
    assert fetch(port) == "on"
    engine.start()
    assert keeper_of(engine) == keeper
    assert engine.docker("exec", "web", "cat", "/index.html").stdout == "on\n"
    engine.docker("restart", "-t", "0", "web")
    assert fetch(port) == "on"


def test_a_killed_keeper_is_followed_by_one_in_the_same_namespaces(fresh_engine: Engine) -> None:
    engine, image, port = fresh_engine, fresh_engine.import_busybox(), free_port()
    engine.docker("run", "-d", "--name", "web", "-p", f"{port}:80", image, "sh", "-c", SERVE, "on")
    assert fetch(port) == "on"
    keeper = keeper_of(engine)
    spaces = {kind: os.readlink(f"/proc/{keeper}/ns/{kind}") for kind in ("user", "mnt", "net")}
    engine.kill()
    os.kill(keeper, signal.SIGKILL)
    wait_for(lambda: not alive(keeper))
    engine.start()
    again = keeper_of(engine)
    assert {kind: os.readlink(f"/proc/{again}/ns/{kind}") for kind in spaces} == spaces
    assert fetch(port) == "on"
    assert engine.docker("exec", "web", "cat", "/index.html").stdout == "on\n"
    neighbour = engine.docker("run", "--rm", image, "sh", "-c", "ping -c 1 -W 5 172.17.0.1 || ping -c 1 172.18.0.1")
    assert "1 packets received" in neighbour.stdout


def test_an_idle_end_leaves_no_process_behind(fresh_engine: Engine) -> None:
    engine = fresh_engine
    engine.docker("run", "--rm", engine.import_busybox(), "true")
    keeper = keeper_of(engine)
    engine.close_client()
    engine.kill(signal.SIGTERM)  # the same way out as idleness
    wait_for(lambda: not alive(keeper), 10, "the keeper to end")
    assert not (engine.settings.run / "keeper.sock").exists()


def test_a_keeper_whose_service_was_killed_ends_with_the_last_process(fresh_engine: Engine) -> None:
    keeper = keeper_of(fresh_engine)
    fresh_engine.close_client()
    fresh_engine.kill()
    wait_for(lambda: not alive(keeper), 20, "the keeper to end")


@contextlib.contextmanager
def engine_with(folder: Path, *programs: str) -> Iterator[Engine]:
    """An engine whose service finds these programs alone, ended afterwards."""
    few = folder / "bin"
    few.mkdir()
    for name in programs:
        if found := shutil.which(name):
            (few / name).symlink_to(found)
    code = "import sys; from dosirak.engine import settings, start; start.ensure(settings.load())"
    where = {"DOSIRAK_ROOT": str(folder / "data"), "DOSIRAK_RUN": str(folder / "run")}
    environment = {**os.environ, **where, "PATH": str(few), "DOSIRAK_IDLE_TIMEOUT": "60"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    from dosirak.engine.settings import Settings

    engine = Engine(Settings(folder / "data", folder / "run"))
    try:
        yield engine
    finally:
        engine.remove_containers()
        engine.close_client()
        keeper = keeper_of(engine)
        engine.kill(signal.SIGTERM)
        wait_for(lambda: not alive(keeper), 10, "the keeper to end")


def test_one_id_is_enough(tmp_path: Path) -> None:
    """Without a range of ids: those tools are not to be found by this service."""
    with engine_with(tmp_path, "pasta", "slirp4netns") as single:
        image = single.import_busybox()
        found = single.docker("run", "--rm", image, "sh", "-c", "cat /proc/self/uid_map; ls -ln /bin/busybox").stdout
        assert found.split()[:3] == ["0", str(UID), "1"]
        done = single.docker("run", "--rm", "-u", "1000", image, "id", check=False)
        assert "/etc/subuid" in done.stderr


@pytest.mark.skipif(shutil.which("slirp4netns") is None, reason="no slirp4netns (Debian: slirp4netns)")
def test_slirp4netns_leads_outside_where_pasta_is_missing(tmp_path: Path) -> None:
    with engine_with(tmp_path, "newuidmap", "newgidmap", "slirp4netns") as engine:
        image, port = engine.import_busybox(), free_port()
        assert any("slirp4netns" in line for line in members(keeper_of(engine)))
        engine.docker("run", "-d", "--name", "web", "-p", f"{port}:80", image, "sh", "-c", SERVE, "by slirp")
        assert fetch(port) == "by slirp"
        assert engine.docker("exec", "web", "cat", "/etc/resolv.conf").stdout
        with outside() as (address, port):
            # It takes a moment to set its interface up.
            ask = f"echo | nc -w 5 {address} {port}"
            wait_for(lambda: "hello" in engine.docker("exec", "web", "sh", "-c", ask, check=False).stdout, 20, "a way")
        with socket.socket() as local:
            local.bind(("127.0.0.1", 0))
            local.listen()
            ask = f"nc -w 1 10.0.2.2 {local.getsockname()[1]} < /dev/null"  # slirp4netns(1): the host's loopback
            assert engine.docker("exec", "web", "sh", "-c", ask, check=False).returncode


def test_nothing_of_the_service_reaches_a_container(engine: Engine, docker: Callable, busybox: str) -> None:
    found = docker("run", "--rm", "--network", "none", busybox, "sh", "-c", "ls -l /proc/self/fd; env").stdout
    assert "keeper" not in found
    assert "DOSIRAK" not in found
    assert any("keeper.py" in line for line in members(keeper_of(engine)))
