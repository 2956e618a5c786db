"""Attach, logs and exec: whose bytes go where, and when streams end."""

from __future__ import annotations

import asyncio
import socket

import pytest

from dosirak.engine.containers import ExecConfig, LogQuery
from dosirak.engine.containers.documents import LogConfig
from dosirak.engine.errors import Conflict, InvalidRequest, NotFound, NotSupported, StartFailed
from dosirak.engine.supervision.model import Attach

from .conftest import frames


async def send(sock, data, *, end=True):
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_sendall(sock, data)
    if end:
        sock.shutdown(socket.SHUT_WR)


async def test_a_client_attached_before_the_start_misses_nothing(rig):
    container_id = await rig.create("sh", "-c", "echo out; echo err >&2")
    ours, theirs = socket.socketpair()
    await rig.containers.attach(container_id, Attach(theirs))
    await rig.containers.start(container_id)
    assert await frames(ours) == ("out\n", "err\n")


async def test_a_start_waits_for_a_client_that_is_on_its_way(rig):
    container_id = await rig.create("echo", "all of it")
    with rig.containers.expecting(container_id):
        starting = asyncio.create_task(rig.containers.start(container_id))
        await asyncio.sleep(0.2)
        assert not starting.done() and not rig.containers.get(container_id).state.running
        ours, theirs = socket.socketpair()
        await rig.containers.attach(container_id, Attach(theirs))
    await asyncio.wait_for(starting, 10)
    assert await frames(ours) == ("all of it\n", "")


async def test_input_reaches_the_process_and_its_end_too(rig):
    container_id = await rig.create("sh", "-c", "cat; echo done", open_stdin=True, stdin_once=True)
    ours, theirs = socket.socketpair()
    await rig.containers.attach(container_id, Attach(theirs, stdin=True))
    await rig.containers.start(container_id)
    await send(ours, b"hello\n")
    assert await frames(ours) == ("hello\ndone\n", "")


async def test_any_number_of_clients_see_the_output(rig):
    container_id = await rig.create("sh", "-c", "read x; echo $x; echo $x", open_stdin=True)
    pairs = [socket.socketpair() for _ in range(5)]
    for ours, theirs in pairs[:3]:
        await rig.containers.attach(container_id, Attach(theirs, stdin=ours is pairs[0][0]))
    await rig.containers.start(container_id)
    for _, theirs in pairs[3:]:
        await rig.containers.attach(container_id, Attach(theirs))
    await send(pairs[0][0], b"x\n", end=False)
    assert await asyncio.gather(*(frames(ours) for ours, _ in pairs)) == [("x\nx\n", "")] * 5


async def test_one_stream_alone(rig):
    container_id = await rig.create("sh", "-c", "echo out; echo err >&2")
    ours, theirs = socket.socketpair()
    await rig.containers.attach(container_id, Attach(theirs, stdout=False))
    await rig.containers.start(container_id)
    assert await frames(ours) == ("", "err\n")


async def test_a_terminal_is_raw_has_a_size_and_is_resized(rig):
    container_id = await rig.create(
        "sh",
        "-c",
        "stty size; trap 'stty size; exit' WINCH; echo up; while :; do sleep 0.05; done",
        tty=True,
        open_stdin=True,
        host={"console_size": (30, 100)},
    )
    ours, theirs = socket.socketpair()
    await rig.containers.attach(container_id, Attach(theirs, framed=False))
    await rig.containers.start(container_id)
    reader, writer = await asyncio.open_connection(sock=ours)
    assert await reader.readuntil(b"up\r\n") == b"30 100\r\nup\r\n"
    await rig.containers.resize(container_id, 40, 120)
    assert await asyncio.wait_for(reader.read(), 10) == b"40 120\r\n"
    writer.close()


async def test_detach_keys_leave_the_container_running(rig):
    container_id = await rig.create("cat", tty=True, open_stdin=True)
    ours, theirs = socket.socketpair()
    await rig.containers.attach(container_id, Attach(theirs, stdin=True, framed=False))
    await rig.containers.start(container_id)
    await send(ours, b"\x10\x11", end=False)
    assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(ours, 10), 10) == b""
    ours.close()
    assert rig.containers.get(container_id).state.running


async def test_attach_with_logs_shows_the_past_first(rig):
    container_id = await rig.create("sh", "-c", "echo past; read x; echo future", open_stdin=True)
    first_ours, first_theirs = socket.socketpair()
    await rig.containers.attach(container_id, Attach(first_theirs, stdin=True))
    await rig.containers.start(container_id)
    while not await rig.log(container_id):
        await asyncio.sleep(0.01)
    ours, theirs = socket.socketpair()
    await rig.containers.attach(container_id, Attach(theirs), logs=True)
    await send(first_ours, b"\n", end=False)
    assert await frames(ours) == ("past\nfuture\n", "")
    first_ours.close()


@pytest.mark.parametrize(
    "log",
    [LogConfig("json-file"), LogConfig("local"), LogConfig("json-file", {"max-size": "20k", "max-file": "1000"})],
    ids=["json-file", "local", "rotated"],
)
async def test_between_the_log_and_what_comes_nothing_is_missing_and_nothing_twice(rig, log):
    script = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); seq $((i*500-499)) $((i*500)); usleep 10000; done; read x"
    container_id = await rig.create("sh", "-c", script, host={"log_config": log}, open_stdin=True)
    typist, theirs = socket.socketpair()
    await rig.containers.attach(container_id, Attach(theirs, stdin=True, stdout=False, stderr=False))
    await rig.containers.start(container_id)
    readers = []
    for _ in range(12):
        ours, theirs = socket.socketpair()
        readers.append(asyncio.create_task(frames(ours)))
        await rig.containers.attach(container_id, Attach(theirs), logs=True)
        await asyncio.sleep(0.03)
    await send(typist, b"\n", end=False)
    expected = "".join(f"{number}\n" for number in range(1, 20_001))
    for out, err in await asyncio.gather(*readers):
        assert (out == expected, err) == (True, "")
    typist.close()


async def test_an_unfinished_line_is_not_in_the_log_and_comes_all_the_same(rig):
    container_id = await rig.create("sh", "-c", "echo a; printf 'name? '; read x; echo $x", tty=True, open_stdin=True)
    first_ours, first_theirs = socket.socketpair()
    await rig.containers.attach(container_id, Attach(first_theirs, framed=False))
    await rig.containers.start(container_id)
    seen = b""
    first_ours.setblocking(False)
    while b"name? " not in seen:
        seen += await asyncio.wait_for(asyncio.get_running_loop().sock_recv(first_ours, 100), 10)
    ours, theirs = socket.socketpair()
    await rig.containers.attach(container_id, Attach(theirs, stdin=True, framed=False), logs=True)
    await send(ours, b"you\n", end=False)
    reader, writer = await asyncio.open_connection(sock=ours)
    assert await asyncio.wait_for(reader.read(), 10) == b"a\r\nname? you\r\nyou\r\n"
    writer.close()
    first_ours.close()


@pytest.mark.parametrize(
    "log", [LogConfig("json-file"), LogConfig("local"), LogConfig("json-file", {"max-size": "20k"})]
)
async def test_who_does_not_read_the_past_holds_up_no_start_and_finds_everything_later(rig, log):
    """`max-size` with one file: the past is gone from its name, not from who reads it."""
    script = "i=$(cat n 2>/dev/null || echo 0); echo $((i+1)) >n; seq $((i*100000+1)) $((i*100000+100000))"
    ran = await rig.run("sh", "-c", script, host={"log_config": log})
    ours, theirs = socket.socketpair()
    await asyncio.wait_for(rig.containers.attach(ran.id, Attach(theirs), logs=True), 10)
    await asyncio.wait_for(rig.containers.start(ran.id), 10)
    await asyncio.wait_for(rig.containers.wait(ran.id), 30)
    out, err = await frames(ours)
    numbers = [int(line) for line in out.splitlines()]
    assert err == ""
    assert numbers == list(range(numbers[0], 200_001))
    assert numbers[0] <= (100_000 if log.config else 1)


async def test_the_past_of_what_never_ran_is_empty(rig):
    container_id = await rig.create("echo", "first")
    ours, theirs = socket.socketpair()
    await rig.containers.attach(container_id, Attach(theirs), logs=True)
    await rig.containers.start(container_id)
    assert await frames(ours) == ("first\n", "")


async def test_who_attaches_with_logs_in_the_middle_of_a_start_misses_nothing(rig):
    ran = await rig.run("sh", "-c", "echo $((i+=1))")
    for runs in range(2, 8):
        starting = asyncio.create_task(rig.containers.start(ran.id))
        await asyncio.sleep(0.001 * runs)
        ours, theirs = socket.socketpair()
        await rig.containers.attach(ran.id, Attach(theirs), logs=True)
        await starting
        assert await frames(ours) in (("1\n" * runs, ""), ("1\n" * (runs + 1), ""))
        await rig.containers.wait(ran.id)


async def test_a_log_that_cannot_be_read_is_no_past(rig):
    container_id = await rig.start("sleep", "100", host={"log_config": LogConfig("none")})
    ours, theirs = socket.socketpair()
    with pytest.raises(NotSupported, match="does not support reading"):
        await rig.containers.attach(container_id, Attach(theirs), logs=True)
    ours.close()
    theirs.close()


async def test_attach_for_logs_alone_ends(rig):
    ran = await rig.run("echo", "hello")
    ours, theirs = socket.socketpair()
    await rig.containers.attach(ran.id, Attach(theirs), logs=True, stream=False)
    assert await frames(ours) == ("hello\n", "")


async def test_clients_of_a_container_that_is_removed_before_it_starts_are_let_go(rig):
    container_id = await rig.create("true")
    ours, theirs = socket.socketpair()
    await rig.containers.attach(container_id, Attach(theirs))
    await rig.containers.remove(container_id)
    assert await frames(ours) == ("", "")


async def test_clients_of_a_failed_start_are_let_go(rig):
    container_id = await rig.create("nope")
    ours, theirs = socket.socketpair()
    await rig.containers.attach(container_id, Attach(theirs))
    with pytest.raises(StartFailed):
        await rig.containers.start(container_id)
    assert await frames(ours) == ("", "")


async def test_a_log_has_the_labels_and_variables_that_are_asked_for(rig):
    for driver in ("json-file", "local"):
        log = LogConfig(type=driver, config={"labels": "a", "env": "V", "tag": "{{.Name}}"})
        ran = await rig.run("echo", "x", host={"log_config": log}, labels={"a": "b c", "d": "e"}, env=["V=1"])
        name = rig.containers.get(ran.id).name
        answer = b"".join([piece async for piece in rig.containers.log_stream(ran.id, LogQuery(details=True))])
        assert answer[8:].decode() == f"V=1,a=b+c,tag={name} x\n"


async def test_bytes_that_are_no_text_come_back_from_a_local_log(rig):
    container_id = await rig.start("printf", r"\377\000\n", host={"log_config": LogConfig(type="local")})
    answer = b"".join([piece async for piece in rig.containers.log_stream(container_id, LogQuery(follow=True))])
    assert answer[8:] == b"\xff\0\n"


async def test_rotated_logs_are_read_whole(rig):
    log = LogConfig(type="json-file", config={"max-size": "50k", "max-file": "100"})
    ran = await rig.run("seq", "5000", host={"log_config": log})
    assert ran.out == "".join(f"{number}\n" for number in range(1, 5001))


async def test_without_a_log_reading_is_refused(rig):
    container_id = await rig.start("true", host={"log_config": LogConfig(type="none")})
    with pytest.raises(NotSupported, match="configured logging driver does not support reading"):
        rig.containers.logs(container_id, LogQuery())


async def test_at_least_one_stream_is_chosen(rig):
    container_id = await rig.create("true")
    with pytest.raises(InvalidRequest, match="You must choose at least one stream"):
        rig.containers.logs(container_id, LogQuery(stdout=False, stderr=False))


# exec


async def test_an_exec_runs_inside_with_its_own_streams_and_status(rig):
    container_id = await rig.start("sleep", "100", hostname="lunch")
    code, out, err = await rig.exec(
        container_id,
        "sh",
        "-c",
        "hostname; echo $A $HOSTNAME; pwd; cat /proc/1/cmdline | tr '\\0' ' '; echo err >&2; exit 5",
        env=["A=b"],
        working_dir="/tmp",
        attach_stdout=True,
    )
    assert (code, err) == (5, "err\n")
    assert out == "lunch\nb lunch\n/tmp\nsleep 100 "


async def test_an_exec_as_another_user(rig):
    container_id = await rig.start("sleep", "100")
    assert await rig.exec(container_id, "id", "-u", user="user") == (0, "1000\n", "")
    assert await rig.exec(container_id, "id", "-G", user="user") == (0, "1000 29\n", "")


async def test_an_exec_takes_input(rig):
    container_id = await rig.start("sleep", "100")
    exec_id = rig.containers.exec_create(container_id, ExecConfig(cmd=["cat"], attach_stdin=True))
    ours, theirs = socket.socketpair()
    await rig.containers.exec_start(exec_id, Attach(theirs, stdin=True))
    await send(ours, b"hello")
    assert await frames(ours) == ("hello", "")
    assert await rig.exec_code(exec_id) == 0


async def test_an_exec_has_a_record_while_and_after_it_runs(rig):
    container_id = await rig.start("sleep", "100")
    exec_id = rig.containers.exec_create(container_id, ExecConfig(cmd=["sh", "-c", "sleep 0.3; exit 6"]))
    record = rig.containers.exec_inspect(exec_id)
    assert (record.running, record.exit_code, record.container) == (False, None, container_id)
    assert rig.containers.exec_ids(container_id) == [exec_id]  # as in Docker, before it has started too
    await rig.containers.exec_start(exec_id)
    assert record.running and record.pid
    assert rig.containers.exec_ids(container_id) == [exec_id]
    with pytest.raises(Conflict, match="is already running"):
        await rig.containers.exec_start(exec_id)
    assert await rig.exec_code(exec_id) == 6
    assert (record.running, record.exit_code) == (False, 6)
    with pytest.raises(Conflict, match="has already run"):
        await rig.containers.exec_start(exec_id)


async def test_the_exit_code_is_there_when_the_stream_ends(rig):
    container_id = await rig.start("sleep", "100")
    for _ in range(20):
        exec_id = rig.containers.exec_create(container_id, ExecConfig(cmd=["sh", "-c", "exit 3"]))
        ours, theirs = socket.socketpair()
        await rig.containers.exec_start(exec_id, Attach(theirs))
        await frames(ours)
        assert rig.containers.exec_inspect(exec_id).exit_code == 3


async def test_a_command_an_exec_can_t_run(rig):
    container_id = await rig.start("sleep", "100")
    for command, code in (("nope", 127), ("/etc/passwd", 126)):
        exec_id = rig.containers.exec_create(container_id, ExecConfig(cmd=[command]))
        with pytest.raises(StartFailed, match="OCI runtime exec failed"):
            await rig.containers.exec_start(exec_id)
        assert rig.containers.exec_inspect(exec_id).exit_code == code


async def test_exec_needs_a_running_container_and_a_command(rig):
    container_id = await rig.create("true")
    with pytest.raises(Conflict, match=f"container {container_id} is not running"):
        rig.containers.exec_create(container_id, ExecConfig(cmd=["true"]))
    await rig.containers.start(container_id)
    with pytest.raises(NotFound, match="No such exec instance: nope"):
        await rig.containers.exec_start("nope")
    running = await rig.start("sleep", "100")
    with pytest.raises(InvalidRequest, match="No exec command specified"):
        rig.containers.exec_create(running, ExecConfig())


async def test_execs_end_with_their_container(rig):
    container_id = await rig.start("sleep", "100")
    exec_id = rig.containers.exec_create(container_id, ExecConfig(cmd=["sleep", "100"]))
    await rig.containers.exec_start(exec_id)
    await rig.containers.kill(container_id)
    assert await rig.exec_code(exec_id) == 137
    await rig.containers.remove(container_id)
    with pytest.raises(NotFound):
        rig.containers.exec_inspect(exec_id)


async def test_an_exec_with_a_terminal(rig):
    container_id = await rig.start("sleep", "100")
    exec_id = rig.containers.exec_create(container_id, ExecConfig(cmd=["sh", "-c", "tty; stty size"], tty=True))
    ours, theirs = socket.socketpair()
    await rig.containers.exec_start(exec_id, Attach(theirs, framed=False), size=(20, 70))
    reader, writer = await asyncio.open_connection(sock=ours)
    assert await asyncio.wait_for(reader.read(), 10) == b"/dev/pts/0\r\n20 70\r\n"
    writer.close()


async def test_events_of_an_exec(rig):
    container_id = await rig.start("sleep", "100")
    async with rig.events.subscribe() as reader:
        await rig.exec(container_id, "sh", "-c", "exit 2")
        found = [await asyncio.wait_for(anext(reader), 5) for _ in range(3)]
    assert [event.action for event in found] == ["exec_create: sh -c exit 2", "exec_start: sh -c exit 2", "exec_die"]
    assert found[2].attributes["exitCode"] == "2" and found[2].attributes["execID"] == found[0].attributes["execID"]


# top


async def test_top(rig):
    container_id = await rig.start("sh", "-c", "sleep 100 & exec sleep 200")
    async with asyncio.timeout(10):
        while True:  # until the shell has become sleep
            top = await rig.containers.top(container_id)
            if sorted(row[-1] for row in top.processes) == ["sleep 100", "sleep 200"]:
                break
    assert top.titles == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert {row[0] for row in top.processes} == {"root"}
    pids = {int(row[1]) for row in top.processes}
    assert rig.containers.get(container_id).state.pid in pids
    bsd = await rig.containers.top(container_id, "aux")
    assert bsd.titles[:2] == ["USER", "PID"] and bsd.titles[-1] == "COMMAND"
    async with asyncio.timeout(10):
        while True:  # busybox starts an applet as "exe" and then names itself
            own = await rig.containers.top(container_id, "-o pid,comm")
            if {row[1] for row in own.processes} == {"sleep"}:
                break
    assert own.titles == ["PID", "COMMAND"]
    with pytest.raises(InvalidRequest, match="Couldn't find PID field in ps output"):
        await rig.containers.top(container_id, "-o comm")
    with pytest.raises(InvalidRequest, match="ps: unsupported option"):
        await rig.containers.top(container_id, "-Z")
    await rig.containers.kill(container_id)
    with pytest.raises(Conflict, match="is not running"):
        await rig.containers.top(container_id)
