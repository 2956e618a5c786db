"""The name server's real process, asked from inside containers' namespaces by dnslib's hand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dnslib
import pytest

from dosirak.engine.networks import Join, Networks, Resolver, files
from dosirak.engine.networks.dns import server
from dosirak.engine.networks.model import CreateRequest, Sandbox
from dosirak.engine.settings import Settings
from dosirak.engine.state import Database, Events
from support.engines import alive
from support.wires import Namespace, inside, until

SERVER = ("127.0.0.11", 53)


def ask(box: Sandbox, name: str, kind: str = "A", *, tcp: bool = False, timeout: float = 3.0) -> dnslib.DNSRecord:
    """One question from inside a container."""
    message = dnslib.DNSRecord.question(name, kind).pack()
    with inside(box.netns_fd).socket(socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.connect(SERVER)
        if not tcp:
            sock.send(message)
            return dnslib.DNSRecord.parse(sock.recv(65535))
        sock.sendall(len(message).to_bytes(2, "big") + message)
        reply = b""
        while len(reply) < 2 or len(reply) < 2 + int.from_bytes(reply[:2], "big"):
            part = sock.recv(65535)
            assert part, "hung up"
            reply += part
        return dnslib.DNSRecord.parse(reply[2:])


def addresses(box: Sandbox, name: str, **options: object) -> list[str]:
    return [str(record.rdata) for record in ask(box, name, **options).rr]  # type: ignore[arg-type]


async def asked(box: Sandbox, name: str, **options: object) -> dnslib.DNSRecord:
    """`ask`, while the engine goes on: the event loop is its own."""
    return await asyncio.to_thread(lambda: ask(box, name, **options))  # type: ignore[arg-type]


async def found(box: Sandbox, name: str, **options: object) -> list[str]:
    return await asyncio.to_thread(lambda: addresses(box, name, **options))


async def eventually(condition: Callable[[], bool]) -> None:
    """`until`, while the engine goes on: what is waited for may be its tasks' work."""
    await asyncio.to_thread(until, condition)


def code(reply: dnslib.DNSRecord) -> str:
    return str(dnslib.RCODE[reply.header.rcode])


@contextmanager
def name_server(
    namespace: Namespace, address: str, answer: Callable[[dnslib.DNSRecord], dnslib.DNSRecord | bytes | None]
) -> Iterator[list[str]]:
    """A name server somewhere, by UDP and TCP; yields the questions it got."""
    asked: list[str] = []
    sockets = [namespace.socket(socket.SOCK_DGRAM), namespace.listen(53, address)]
    sockets[0].bind((address, 53))
    for sock in sockets:
        sock.settimeout(0.1)
    ended = threading.Event()

    def reply(data: bytes) -> bytes:
        question = dnslib.DNSRecord.parse(data)
        asked.append(str(question.q.qname))
        made = answer(question)
        return made.pack() if isinstance(made, dnslib.DNSRecord) else made or b""

    def serve() -> None:
        while not ended.is_set():
            try:
                data, peer = sockets[0].recvfrom(4096)
                sockets[0].sendto(reply(data), peer)
            except TimeoutError:
                pass
            try:
                sock, _ = sockets[1].accept()
            except TimeoutError:
                continue
            with sock:
                made = reply(sock.recv(4096)[2:])
                sock.sendall(len(made).to_bytes(2, "big") + made)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
    finally:
        ended.set()
        thread.join()
        for sock in sockets:
            sock.close()


def always(address: str) -> Callable[[dnslib.DNSRecord], dnslib.DNSRecord]:
    def answer(question: dnslib.DNSRecord) -> dnslib.DNSRecord:
        reply = question.reply()
        reply.add_answer(dnslib.RR(question.q.qname, rdata=dnslib.A(address)))
        return reply

    return answer


@pytest.fixture
def resolv_conf(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What the host's /etc/resolv.conf says."""

    def write(text: str) -> None:
        monkeypatch.setattr(files, "read_resolv_conf", lambda: text)

    write("nameserver 127.0.0.1\n")
    return write


@pytest.fixture
async def back(networks: Networks, resolv_conf: Callable[[str], None]) -> str:
    await networks.create(CreateRequest(name="back"))
    return "back"


async def join(networks: Networks, name: str, network: str, *names: str, **fields: object) -> Sandbox:
    resolver = fields.pop("resolver", Resolver())
    joins = [Join(network=network, names=(name, *names), **fields)]  # type: ignore[arg-type]
    return await networks.join(name, name, joins, resolver=resolver)  # type: ignore[arg-type]


def server_pid(settings: Settings) -> int:
    """The process, by whom it serves: the one whose socket lies in this run directory."""
    listing = subprocess.run(["pgrep", "-f", "networks/dns/server.py"], capture_output=True, text=True).stdout
    path = os.fspath(settings.run / "names.sock")
    inodes = {line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines() if line.endswith(path)}
    for pid in map(int, listing.split()):
        with contextlib.suppress(FileNotFoundError):  # another test's, which ends just now
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                if os.readlink(fd).removeprefix("socket:[").rstrip("]") in inodes:
                    return pid
    raise AssertionError("no name server runs")


async def test_neighbours_are_found_by_name_alias_and_address(networks: Networks, back: str) -> None:
    web = await join(networks, "web", back, "shop", "0123456789ab")
    db = await join(networks, "db", back, "shop")
    for tcp in (False, True):
        for name in ("web", "WEB.back", "0123456789ab"):
            assert await found(db, name, tcp=tcp) == [web.endpoint.ip]
        assert sorted(await found(web, "shop", tcp=tcp)) == sorted([web.endpoint.ip, db.endpoint.ip])
    reverse = ".".join(reversed(db.endpoint.ip.split("."))) + ".in-addr.arpa"
    assert await found(web, reverse, kind="PTR") == ["db.back."]
    assert (await asked(web, "db", kind="AAAA")).rr == []
    await networks.disconnect("db")
    await eventually(lambda: addresses(web, "shop") == [web.endpoint.ip])


async def test_a_question_of_the_first_moment_is_answered(networks: Networks, back: str) -> None:
    """The process takes a moment to start; what was asked before waits in the socket."""
    web = await join(networks, "web", back)
    assert await found(web, "web") == [web.endpoint.ip]


async def test_names_of_other_networks_are_nobody_s_business(networks: Networks, back: str, host: Namespace) -> None:
    await networks.create(CreateRequest(name="front"))
    web = await join(networks, "web", back)
    other = await join(networks, "other", "front")
    with name_server(host, "127.0.0.1", lambda question: question.reply()) as questions:
        reply = await asked(web, "other")
        assert isinstance(reply, dnslib.DNSRecord) and reply.rr == [] and questions == ["other."]
    both = await networks.join(
        "both", "both", [Join(network=back, names=("both",)), Join(network="front", names=("both",))]
    )
    assert await found(both, "other") == [other.endpoint.ip]
    assert await found(both, "web") == [web.endpoint.ip]


async def test_links_are_one_s_own_names_for_others(networks: Networks, back: str) -> None:
    db = await join(networks, "db", back)
    web = await join(networks, "web", back, links={"mysql": "db"})
    assert await found(web, "mysql") == [db.endpoint.ip]


async def test_a_renamed_container_is_found_by_its_new_name(networks: Networks, back: str) -> None:
    web = await join(networks, "web", back)
    networks.rename("web", "shop", {web.endpoint.network_id: ("shop",)})
    assert await found(web, "shop") == [web.endpoint.ip]


async def test_other_names_are_asked_of_the_host_s_servers(networks: Networks, back: str, host: Namespace) -> None:
    web = await join(networks, "web", back)
    with name_server(host, "127.0.0.1", always("192.0.2.7")) as questions:
        for tcp in (False, True):
            assert await found(web, "example.org", tcp=tcp) == ["192.0.2.7"]
        assert questions == ["example.org.", "example.org."]


async def test_a_server_that_fails_is_passed_over(
    networks: Networks, back: str, host: Namespace, resolv_conf: Callable[[str], None]
) -> None:
    resolv_conf("nameserver 127.0.0.5\nnameserver 127.0.0.1\nnameserver 127.0.0.2\n")  # nobody, failing, right
    web = await join(networks, "web", back)

    def fail(question: dnslib.DNSRecord) -> dnslib.DNSRecord:
        reply = question.reply()
        reply.header.rcode = dnslib.RCODE.SERVFAIL
        return reply

    with name_server(host, "127.0.0.1", fail), name_server(host, "127.0.0.2", always("192.0.2.7")):
        for tcp in (False, True):
            assert await found(web, "example.org", tcp=tcp) == ["192.0.2.7"]


async def test_forged_answers_are_not_believed(
    networks: Networks, back: str, host: Namespace, resolv_conf: Callable[[str], None]
) -> None:
    web = await join(networks, "web", back)

    def forge(question: dnslib.DNSRecord) -> dnslib.DNSRecord:
        reply = always("192.0.2.66")(question)
        if str(question.q.qname) == "id.":
            reply.header.id ^= 1
        else:
            reply.q.qname = dnslib.DNSLabel("other")
        return reply

    with name_server(host, "127.0.0.1", forge):
        for name in ("id", "name"):
            with pytest.raises(TimeoutError):
                await asked(web, name, timeout=0.5)


async def test_own_servers_are_asked_from_inside(
    networks: Networks, back: str, host: Namespace, outside: Namespace
) -> None:
    resolver = Resolver(("198.51.100.2",))
    web = await join(networks, "web", back, resolver=resolver)
    with name_server(outside, "198.51.100.2", always("192.0.2.7")), name_server(host, "127.0.0.1", always("1.1.1.1")):
        assert await found(web, "example.org") == ["192.0.2.7"]


async def test_an_internal_network_gets_no_answers_from_outside(
    networks: Networks, resolv_conf: Callable[[str], None], host: Namespace
) -> None:
    await networks.create(CreateRequest(name="safe", internal=True))
    web = await join(networks, "web", "safe")
    with name_server(host, "127.0.0.1", always("192.0.2.7")) as questions:
        reply = await asked(web, "example.org")
        assert isinstance(reply, dnslib.DNSRecord) and code(reply) == "SERVFAIL" and questions == []
        assert await found(web, "web") == [web.endpoint.ip]


async def test_names_of_one_label_stay_inside_where_ndots_is_set(
    networks: Networks, back: str, host: Namespace
) -> None:
    web = await join(networks, "web", back, resolver=Resolver(whole=True))
    with name_server(host, "127.0.0.1", always("192.0.2.7")) as questions:
        assert await found(web, "nobody") == []
        assert await found(web, "some.body") == ["192.0.2.7"]
        assert questions == ["some.body."]


async def started(settings: Settings, running: Mapping[str, int] = {}) -> Networks:
    """An engine's networks of the test's own, which it closes itself."""
    made = Networks(Database(settings.data / "state.db"), settings, Events())
    await made.start()
    await made.readopt(running)
    return made


async def test_names_are_answered_while_no_service_runs_and_by_the_next(host: Namespace, settings: Settings) -> None:
    networks, back = await started(settings), "back"
    await networks.create(CreateRequest(name=back))
    web = await join(networks, "web", back)
    await asked(web, "web")
    pid = server_pid(settings)
    with inside(web.netns_fd).socket():
        sleeper = subprocess.Popen(["sleep", "60"], preexec_fn=inside(web.netns_fd).enter)
        fd = os.dup(web.netns_fd or 0)
        try:
            await networks.close()
            again = Sandbox(web.id, fd, web.endpoints)
            assert addresses(again, "web") == [web.endpoint.ip]
            assert alive(pid)
            second = await started(settings, {"web": sleeper.pid})
            db = await join(second, "db", back)
            await eventually(lambda: addresses(again, "db") == [db.endpoint.ip])
            assert server_pid(settings) == pid
            for container in ("db", "web"):
                await second.disconnect(container)
            await second.remove(back)
            await second.close()
        finally:
            sleeper.kill()
            sleeper.wait()
            os.close(fd)
    until(lambda: not alive(pid), 10)
    assert not (settings.run / "names.sock").exists()


async def test_a_killed_name_server_is_replaced_and_no_question_lost(
    networks: Networks, back: str, settings: Settings
) -> None:
    web = await join(networks, "web", back)
    await asked(web, "web")
    pid = server_pid(settings)
    os.kill(pid, signal.SIGKILL)
    assert await found(web, "web") == [web.endpoint.ip]
    assert server_pid(settings) != pid


async def test_a_name_server_that_died_with_its_service_is_replaced_by_the_next(
    settings: Settings, host: Namespace
) -> None:
    networks, back = await started(settings), "back"
    await networks.create(CreateRequest(name=back))
    web = await join(networks, "web", back)
    await asked(web, "web")
    pid = server_pid(settings)
    sleeper = subprocess.Popen(["sleep", "60"], preexec_fn=inside(web.netns_fd).enter)
    try:
        await networks.close()
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid))
        second = await started(settings, {"web": sleeper.pid})
        box = second.sandbox("web")
        assert box
        assert await asyncio.to_thread(lambda: _eventually(box, "web")) == [web.endpoint.ip]
        await second.disconnect("web")
        await second.remove(back)
        await second.close()
    finally:
        sleeper.kill()
        sleeper.wait()


def _eventually(box: Sandbox, name: str) -> list[str]:
    """The sockets are gone for a moment."""
    found: list[str] = []

    def asked() -> bool:
        try:
            found[:] = addresses(box, name)
        except ConnectionRefusedError:
            return False
        return True

    until(asked, 5)
    return found


async def test_a_name_server_ends_with_the_last_service_that_needs_it(settings: Settings, host: Namespace) -> None:
    networks, back = await started(settings), "back"
    await networks.create(CreateRequest(name=back))
    web = await join(networks, "web", back)
    await asked(web, "web")
    pid = server_pid(settings)
    await networks.disconnect("web")
    await networks.remove(back)
    await networks.close()
    until(lambda: not alive(pid), 10)
    assert not (settings.run / "names.sock").exists()


def test_a_service_that_is_killed_before_it_is_greeted_does_not_end_it(tmp_path: Path) -> None:
    path = os.fspath(tmp_path / "names.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(2)
        killed, lives = (socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2))
        for sock in (killed, lives):
            sock.connect(path)
        killed.close()
        command = [sys.executable, "-S", "-E", "-I", server.__file__, str(listener.fileno())]
        subprocess.run(command, pass_fds=[listener.fileno()], check=True)
    with lives:
        lives.settimeout(10)
        assert b'"boxes"' in lives.recv(1000)
    until(lambda: not Path(path).exists(), 10)


async def test_hostile_questions_hurt_nobody(networks: Networks, back: str) -> None:
    web = await join(networks, "web", back)
    box = inside(web.netns_fd)

    def attack() -> list[str]:
        with box.socket(socket.SOCK_DGRAM) as sock:
            for data in (b"", b"\0", os.urandom(512), b"\xff" * 600, b"\0" * 12, dnslib.DNSRecord().reply().pack()):
                sock.sendto(data, SERVER)
        streams = [box.connect(*SERVER) for _ in range(40)]
        for number, stream in enumerate(streams):
            stream.sendall([b"\xff\xff", b"\0\1x", b"\0\0" * 1000, os.urandom(100)][number % 4])
        try:
            return addresses(web, "web")
        finally:
            for stream in streams:
                stream.close()

    assert await asyncio.to_thread(attack) == [web.endpoint.ip]
    assert await found(web, "web", tcp=True) == [web.endpoint.ip]


async def test_a_container_can_serve_names_itself(networks: Networks, back: str) -> None:
    web = await join(networks, "web", back, resolver=Resolver(tcp=False))
    box = inside(web.netns_fd)
    with box.socket(socket.SOCK_DGRAM) as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.bind(("0.0.0.0", 53))
        with box.listen(53):
            assert await found(web, "web") == [web.endpoint.ip]
            with box.socket(socket.SOCK_DGRAM) as client:
                client.sendto(b"mine", (web.endpoint.ip, 53))
                assert own.recv(16) == b"mine"


async def test_a_network_joined_later_brings_names(networks: Networks, back: str) -> None:
    box = await networks.join("web", "web", [Join(network="bridge")])
    assert not box.named
    sleeper = subprocess.Popen(["sleep", "60"], preexec_fn=inside(box.netns_fd).enter)
    try:
        db = await join(networks, "db", back)
        wanted = Join(network=back, names=("web",))
        own = Resolver(whole=True)
        box = await networks.add("web", "web", wanted, hostname="web", pid=sleeper.pid, resolver=own)
        assert box.named
        assert await found(box, "db") == [db.endpoint.ip]
        await networks.leave("db", back)
        assert code(await asked(box, "db")) == "NOERROR", "its own settings hold"
    finally:
        sleeper.kill()
        sleeper.wait()


async def test_no_descriptor_is_left(networks: Networks, back: str) -> None:
    await join(networks, "first", back)
    await networks.disconnect("first")
    await networks.teardown()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        for number in range(6):
            await join(networks, str(number), back)
        for number in range(6):
            await networks.disconnect(str(number))
        await networks.teardown()
    assert len(os.listdir("/proc/self/fd")) <= before
