"""Standard input, output and error of real processes: to the log, to any number of clients, and from them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time

import pytest

from dosirak.engine.supervision.model import LogFile, Restart
from support.bundles import Box, ended, split, until

BIG = os.urandom(1 << 16) * 160  # 10 MiB
LINES = 1_000_000


async def test_output_and_error_are_told_apart_in_log_and_client(box: Box) -> None:
    result = await box.run("echo out; echo err >&2; printf tail")
    assert (result.out, result.err) == ("out\ntail", "err\n")
    assert sorted((entry["stream"], entry["log"]) for entry in result.log) == [
        ("stderr", "err\n"),
        ("stdout", "out\n"),
        ("stdout", "tail"),
    ]


async def test_without_open_stdin_it_is_the_null_device(box: Box) -> None:
    result = await box.run("readlink /proc/self/fd/0; cat; echo ended")
    assert result.out == "/dev/null\nended\n"


async def test_output_goes_through_pipes(box: Box) -> None:
    result = await box.run("for fd in 1 2; do readlink /proc/self/fd/$fd; done")
    assert re.fullmatch(r"(pipe:\[\d+\]\n){2}", result.out)


async def test_input_reaches_the_process_and_half_close_ends_it(box: Box) -> None:
    started = await box.start("cat; echo after", stdin=True)
    await started.wire.send(b"one\n")
    await started.wire.until(b"one\n")
    started.wire.end_input()
    result = await started.finish()
    assert (result.out, result.code) == ("one\nafter\n", 0)


async def test_without_stdin_once_input_stays_open_for_the_next_client(box: Box) -> None:
    bundle = box.bundle(["cat"])
    first, second = box.wire(), box.wire()
    task = await box.launch(bundle, stdin=True, stdin_once=False, attach=(first.attach(stdin=True),))
    await first.send(b"one\n")
    await first.until(b"one\n")
    first.close()
    await task.attach(second.attach(stdin=True))
    await second.send(b"two\n")
    await second.until(b"two\n")
    second.end_input()
    await asyncio.sleep(0.1)
    assert not task.exited
    task.kill(9)
    await second.all()


async def test_input_that_was_read_ahead_comes_first(box: Box) -> None:
    bundle = box.bundle(["cat"])
    wire, late = box.wire(), box.wire()
    early = wire.attach(stdin=True, initial=b"early ")
    task = await box.launch(bundle, stdin=True, stdin_once=True, attach=(early,))
    await wire.send(b"then\n")
    assert split(await wire.until(b"then\n"))[0] == b"early then\n"
    ahead = b"ahead" * 100_000  # beyond what one message holds
    reader = asyncio.ensure_future(late.all())
    await task.attach(late.attach(stdin=True, initial=ahead))
    await late.send(b"end")
    await wire.until(b"end")
    wire.end_input()
    assert split(bytes(await reader))[0] == ahead + b"end"
    await ended(task)


@pytest.mark.parametrize("initial", [65535, 65536, 65537, 300_000])
async def test_much_input_read_ahead_does_not_stop_what_follows(box: Box, initial: int) -> None:
    """As much as a pipe takes, and as much as waits for one at most."""
    wire = box.wire()
    client = wire.attach(stdin=True, initial=b"x" * initial)
    task = await box.launch(box.bundle(["wc", "-c"]), stdin=True, stdin_once=True, attach=(client,))
    await wire.send(b"y" * 1000)
    wire.end_input()
    assert split(bytes(await wire.all()))[0] == b"%d\n" % (initial + 1000)
    await ended(task)


async def test_ten_megabytes_go_through_cat_and_back(box: Box) -> None:
    result = await box.start(box.bundle(["cat"]), stdin=True, options={"log_file": None})
    reader = asyncio.ensure_future(result.wire.all())
    await result.wire.send(BIG)
    result.wire.end_input()
    out, _ = split(bytes(await reader))
    assert hashlib.sha256(out).digest() == hashlib.sha256(BIG).digest()
    assert (await ended(result.task)).code == 0


async def test_input_of_a_client_that_closed_for_good_is_read_to_its_end(box: Box) -> None:
    """It sent all it had and closed, while the process was slow to read."""
    wire, watcher = box.wire(), box.wire()
    clients = (wire.attach(stdin=True, stdout=False, stderr=False), watcher.attach())
    task = await box.launch(box.bundle(["sh", "-c", "sleep 0.5; wc -c"]), stdin=True, stdin_once=True, attach=clients)
    sent = 0
    wire.ours.setblocking(False)
    while True:
        try:
            sent += wire.ours.send(b"x" * 4096)
        except BlockingIOError:
            await asyncio.sleep(0.05)
            try:
                sent += wire.ours.send(b"x" * 4096)
            except BlockingIOError:
                break
    assert sent > 200_000
    wire.close()
    assert split(bytes(await watcher.all()))[0] == b"%d\n" % sent
    await ended(task)


async def test_a_process_that_closes_its_input_early_hurts_nobody(box: Box) -> None:
    started = await box.start("exec <&-; sleep 0.2; echo done", stdin=True)
    reader = asyncio.ensure_future(started.wire.all())
    await started.wire.send(b"x" * 500_000)
    started.wire.end_input()
    assert split(bytes(await reader))[0] == b"done\n"
    assert (await ended(started.task)).code == 0


async def test_all_clients_get_the_same_and_a_late_one_the_rest(box: Box) -> None:
    bundle = box.bundle(["sh", "-c", "read x; echo first; read x; seq 20000; echo err >&2"])
    wires = [box.wire() for _ in range(5)]
    attached = tuple(wire.attach(stdin=wire is wires[0]) for wire in wires[:4])
    task = await box.launch(bundle, stdin=True, stdin_once=True, attach=attached)
    await wires[0].send(b"\n")
    await wires[0].until(b"first\n")
    await task.attach(wires[4].attach(stdout=True, stderr=False))
    await wires[0].send(b"\n")
    got = [split(bytes(data)) for data in await asyncio.gather(*(wire.all() for wire in wires))]
    numbers = b"".join(b"%d\n" % number for number in range(1, 20001))
    assert got[:4] == [(b"first\n" + numbers, b"err\n")] * 4
    assert got[4] == (numbers, b"")
    await ended(task)


async def test_a_client_gets_only_what_it_asked_for(box: Box) -> None:
    out, err = box.wire(), box.wire()
    clients = (out.attach(stderr=False), err.attach(stdout=False))
    task = await box.launch(box.bundle(["sh", "-c", "echo out; echo err >&2"]), attach=clients)
    assert split(bytes(await out.all())) == (b"out\n", b"")
    assert split(bytes(await err.all())) == (b"", b"err\n")
    await ended(task)


async def test_a_million_lines_reach_log_and_client_without_loss(box: Box) -> None:
    started = await box.start(["seq", str(LINES)])
    wanted = hashlib.sha256(b"".join(b"%d\n" % number for number in range(1, LINES + 1))).digest()
    out, _ = split(bytes(await started.wire.all()))
    assert hashlib.sha256(out).digest() == wanted
    await ended(started.task)
    digest = hashlib.sha256()
    with open(started.bundle.log_path, "rb") as file:
        for number, line in enumerate(file, 1):
            assert line.startswith(b'{"log":"%d\\n","stream":"stdout","time":"' % number)
            digest.update(b"%d\n" % number)
    assert digest.digest() == wanted


async def test_a_client_that_vanishes_does_not_disturb(box: Box) -> None:
    started = await box.start("seq 100000; read x; echo $x", stdin=True, options={})
    gone = box.wire()
    await started.task.attach(gone.attach(stdin=True))
    gone.close()
    await started.wire.until(b"100000\n")
    result = await started.finish()  # its input was the vanished one's too: StdinOnce
    assert result.code == 0


async def test_a_client_that_stalls_holds_nobody_up_and_gets_all_of_it_later(box: Box) -> None:
    """Long after the process has ended: its container may be started anew, and be removed, meanwhile."""
    stalled, reading = box.wire(), box.wire()
    bundle = box.bundle(["seq", "400000"])
    task = await box.launch(bundle, attach=(stalled.attach(), reading.attach()))
    numbers = b"".join(b"%d\n" % number for number in range(1, 400_001))
    assert split(bytes(await reading.all()))[0] == numbers
    assert (await ended(task)).code == 0
    assert bundle.log_path.read_bytes().count(b"\n") == 400_000
    again = await box.launch(bundle)
    assert (await ended(again)).code == 0
    bundle.log_path.unlink()
    assert split(bytes(await stalled.all()))[0] == numbers


async def test_a_terminals_client_that_stalls_gets_every_byte_later(box: Box) -> None:
    started = await box.start("stty raw; head -c 3000000 /dev/urandom | tee /tmp/said", tty=True)
    async with asyncio.timeout(30):
        await started.task.wait()
    said = bytes(await started.wire.all())
    assert len(said) == 3_000_000
    assert said.decode("utf-8", "replace") == "".join(entry["log"] for entry in started.bundle.log())


async def test_with_no_log_the_process_waits_for_its_client(box: Box) -> None:
    """As in Docker: nothing else has its output. A client that goes frees it."""
    wire = box.wire()
    task = await box.launch(box.bundle(["seq", "400000"]), attach=(wire.attach(),), log=False)
    await asyncio.sleep(0.5)
    assert not task.exited
    assert split(bytes(await wire.all()))[0].endswith(b"\n400000\n")
    await ended(task)
    wire = box.wire()
    task = await box.launch(box.bundle(["seq", "400000"]), attach=(wire.attach(),), log=False)
    await asyncio.sleep(0.2)
    wire.close()
    assert (await ended(task)).code == 0


async def test_a_client_too_far_behind_is_let_go(box: Box) -> None:
    """What may wait for it is limited; a disk that is nearly full is such a limit too (here: there is no folder)."""
    stalled = box.wire()
    bundle = box.bundle(["sh", "-c", "read x; seq 400000"])
    log = LogFile(bundle.path / "logs" / "log")
    log.path.parent.mkdir()
    task = await box.launch(bundle, attach=(stalled.attach(stdin=True),), stdin=True, log_file=log)
    log.path.parent.rename(bundle.path / "elsewhere")
    begin = time.monotonic()
    await stalled.send(b"\n")
    assert (await ended(task)).code == 0
    assert 8 < time.monotonic() - begin < 30
    assert (bundle.path / "elsewhere" / "log").read_bytes().count(b"\n") == 400_000
    assert (await stalled.read())[:4] == b"\1\0\0\0"


async def test_a_slow_client_gets_everything_after_the_process_has_ended(box: Box) -> None:
    started = await box.start(["seq", "150000"])
    async with asyncio.timeout(20):
        await started.task.wait()
    data = bytearray()
    while piece := await started.wire.read():
        data += piece
        await asyncio.sleep(0.01)
    assert split(bytes(data))[0].endswith(b"\n150000\n")


async def test_a_client_need_not_read_for_the_container_to_end(box: Box) -> None:
    """Less than a socket holds."""
    started = await box.start("echo hello")
    assert (await ended(started.task)).code == 0
    assert split(bytes(await started.wire.all())) == (b"hello\n", b"")


async def test_a_container_without_clients_only_logs(box: Box) -> None:
    bundle = box.bundle(["sh", "-c", "echo a; echo b >&2"])
    assert (await ended(await box.launch(bundle))).code == 0
    assert (bundle.logged(), bundle.logged("stderr")) == ("a\n", "b\n")


async def test_a_container_without_log_and_clients_runs_all_the_same(box: Box) -> None:
    assert (await ended(await box.launch(box.bundle(["seq", "100000"]), log=False))).code == 0


async def test_the_log_is_followed_to_its_end(box: Box) -> None:
    bundle = box.bundle(["sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.03; done"])
    task = await box.launch(bundle)

    async def follow() -> list[str]:
        seen: list[str] = []
        async for _ in task.follow_log():
            seen.append(bundle.logged())
        return seen

    async with asyncio.timeout(20):
        first, second = await asyncio.gather(follow(), follow())
    for seen in (first, second):
        assert seen[-1] == "1\n2\n3\n4\n5\n"
        assert 2 <= len(seen) <= 12
    await ended(task)


async def test_each_reader_is_passed_the_present_file_once_and_then_every_new_one(box: Box) -> None:
    bundle = box.bundle(["sh", "-c", "echo x; read y; seq 5000"])
    log = LogFile(bundle.log_path, max_size=20_000, max_files=2)
    client = box.wire()
    task = await box.launch(bundle, log_file=log, stdin=True, attach=[client.attach(stdin=True)])
    present = os.stat(bundle.log_path).st_ino
    for _ in range(2):
        with task.follow_log() as first, task.follow_log() as second:
            await anext(first)
            await anext(second)
            for follower in (first, second):
                assert [os.fstat(fd).st_ino for fd in follower.files] == [present]
    with task.follow_log() as first, task.follow_log() as second:
        await anext(first)
        await anext(second)
        await client.send(b"\n")
        await ended(task)
        assert [os.fstat(fd).st_ino for fd in first.files] == [os.fstat(fd).st_ino for fd in second.files]
        assert len(first.files) > 10 and os.fstat(first.files[-1]).st_ino == os.stat(bundle.log_path).st_ino
        assert not first.missed


async def test_rotation_while_the_container_writes(box: Box) -> None:
    bundle = box.bundle(["seq", "20000"])
    task = await box.launch(bundle, log_file=LogFile(bundle.log_path, max_size=20_000, max_files=3))
    await ended(task)
    names = sorted(path.name for path in bundle.path.glob("json.log*"))
    assert names == ["json.log", "json.log.1", "json.log.2"]
    assert all((bundle.path / name).stat().st_size <= 20_000 for name in names)
    assert bundle.log()[-1]["log"] == "20000\n"


# Exec


async def test_an_exec_ends_although_it_left_a_writer_in_the_background(box: Box) -> None:
    """Its pipes are held open, and filled for ever, by what it left."""
    started = await box.start(["sleep", "60"])
    begin = time.monotonic()
    result = await box.exec(started, "yes & sleep 60 & echo hello; exit 5")
    assert result.code == 5
    assert "hello\n" in result.out
    assert time.monotonic() - begin < 5


async def test_execs_have_their_own_streams(box: Box) -> None:
    started = await box.start(["sleep", "60"])
    result = await box.exec(started, "cat; echo err >&2", stdin=b"typed\n")
    assert (result.out, result.err, result.code) == ("typed\n", "err\n", 0)
    result = await box.exec(started, ["wc", "-c"], stdin=BIG)
    assert result.out == f"{len(BIG)}\n"
    assert started.bundle.log() == []


# Terminals


async def test_a_terminal_is_the_containers_own(box: Box) -> None:
    result = await box.run("tty; ls -l /dev/console; stat -c %t:%T /dev/console /dev/pts/0", tty=True)
    lines = result.out.split("\r\n")
    assert lines[0] == "/dev/pts/0"
    assert lines[2:4] == ["88:0", "88:0"]


async def test_a_terminal_has_the_size_asked_for_and_takes_another(box: Box) -> None:
    script = "stty size; trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"
    started = await box.start(script, tty=True, options={"size": (33, 121)})
    await started.wire.until(b"33 121\r\nready\r\n")
    await started.task.resize(40, 80)
    assert (await started.finish()).out.endswith("40 80\r\n")


@pytest.mark.parametrize("size", [(0, 0), (70_000, 80), (-1, -1), (2**63, 2**63)])
async def test_an_impossible_size_hurts_nobody(box: Box, size: tuple[int, int]) -> None:
    started = await box.start("read x; echo lives", tty=True, stdin=True)
    await started.task.resize(*size)
    await started.wire.send(b"\n")
    assert (await started.finish()).out.endswith("lives\r\n")


async def test_an_impossible_size_at_the_start_hurts_nobody(box: Box) -> None:
    assert (await box.run("echo lives", tty=True, options={"size": (100_000, 100_000)})).out == "lives\r\n"


async def test_a_terminal_without_one_ignores_the_size(box: Box) -> None:
    started = await box.start("sleep 0.2; echo lives")
    await started.task.resize(10, 10)
    assert (await started.finish()).out == "lives\n"


async def test_typing_on_a_terminal(box: Box) -> None:
    started = await box.start("stty -echo; echo ready; read x; echo got $x; cat", tty=True, stdin=True)
    await started.wire.until(b"ready\r\n")
    await started.wire.send(b"hello\r")
    await started.wire.until(b"got hello\r\n")
    await started.wire.send(b"\x04")  # end of file is typed
    result = await started.finish()
    assert result.code == 0
    assert "".join(entry["log"] for entry in result.log) == "ready\r\ngot hello\r\n"


async def test_ctrl_c_is_a_signal(box: Box) -> None:
    started = await box.start(
        "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done", tty=True, stdin=True
    )
    await started.wire.until(b"ready")
    await started.wire.send(b"\x03")
    assert (await started.finish()).code == 9


async def test_detach_keys_let_the_client_go_and_the_container_live(box: Box) -> None:
    started = await box.start("stty raw -echo; echo ready; exec cat", tty=True, stdin=True)
    await started.wire.until(b"ready")
    await started.wire.send(b"ab\x10")
    await started.wire.until(b"ab")
    await started.wire.send(b"\x11")
    await started.wire.all()
    assert not started.task.exited
    other = box.wire()
    await started.task.attach(other.attach(stdin=True, framed=False, detach_keys=b""))
    await other.send(b"\x10\x11")
    await other.until(b"\x10\x11")
    started.kill()
    await other.all()


async def test_much_typing_into_a_raw_terminal_comes_back(box: Box) -> None:
    """Input and output block each other on the one descriptor again and again."""
    started = await box.start("stty raw -echo; echo ready; exec head -c 1000000", tty=True, stdin=True)
    await started.wire.until(b"ready\n")
    at = len(started.wire.data)
    data = bytes(range(32, 127)) * 12000
    reader = asyncio.ensure_future(started.wire.all())
    sender = asyncio.ensure_future(started.wire.send(data))
    await reader
    sender.cancel()
    assert bytes(started.wire.data[at:]) == data[:1_000_000]
    assert (await ended(started.task)).code == 0


async def test_typing_goes_on_after_output_had_to_wait_for_a_client(box: Box) -> None:
    """The client does not read until both directions are full."""
    script = "stty raw -echo; echo ready; exec cat"
    started = await box.start(script, tty=True, stdin=True, options={"log": False})
    await started.wire.until(b"ready\n")
    at = len(started.wire.data)
    data = bytes(range(32, 127)) * 40000  # 3.8 MB
    sender = asyncio.ensure_future(started.wire.send(data))
    await asyncio.sleep(1)
    assert not sender.done()
    while len(started.wire.data) < at + len(data):
        assert await started.wire.read()
    assert bytes(started.wire.data[at:]) == data
    started.kill()


async def test_a_process_may_close_its_terminal_and_open_it_again(box: Box) -> None:
    """When nobody holds the slave, the master tells of a hang-up; to close it would kill the session."""
    script = "exec <&- >/tmp/x 2>&1; sleep 0.5; echo back >/dev/console; sleep 0.5; exit 7"
    result = await box.run(script, tty=True)
    assert (result.out, result.code) == ("back\r\n", 7)


async def test_an_exec_has_a_terminal_of_its_own(box: Box) -> None:
    started = await box.start("sleep 60", tty=True)
    task, wire = await box.exec_start(started, "tty; stty size; read x; echo $x", tty=True, stdin=True, size=(11, 22))
    await wire.until(b"/dev/pts/1\r\n11 22\r\n")
    await task.resize(12, 34)
    await wire.send(b"hello\r")
    assert (await wire.all()).endswith(b"hello\r\n")
    assert (await ended(task)).code == 0


async def test_the_last_output_of_a_terminal_is_not_lost(box: Box) -> None:
    for _ in range(5):
        result = await box.run("seq 5000", tty=True)
        assert result.out.endswith("\n4999\r\n5000\r\n")
        assert len(result.out.split()) == 5000


# Restarts


async def test_each_run_has_input_of_its_own(box: Box) -> None:
    bundle = box.bundle(["sh", "-c", "read x; echo got $x; exit 1"])
    wire = box.wire()
    task = await box.launch(
        bundle, stdin=True, stdin_once=True, attach=(wire.attach(stdin=True),), restart=Restart("on-failure", 2)
    )
    await wire.send(b"one\n")
    await wire.all()  # clients go with the run they were attached to
    for word in (b"two", b"three"):
        await until(lambda: task.pid, "the next run")
        wire = box.wire()
        await task.attach(wire.attach(stdin=True))
        await wire.send(word + b"\n")
        assert split(bytes(await wire.all()))[0] == b"got " + word + b"\n"
    end = await ended(task)
    assert (end.code, end.restarts) == (1, 2)
    assert bundle.logged() == "got one\ngot two\ngot three\n"
