"""Damaged records, documents and folders: one clear warning or error each, and nothing happens to the others."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from support.engines import Engine, alive, wait_for

from .conftest import container_pid

GARBAGE = b'{"id": 1, "\xff\x00'


def alter(engine: Engine, statement: str, *parameters: object) -> None:
    """Change the state database of a service that is down."""
    with closing(sqlite3.connect(engine.settings.data / "state.db")) as db, db:
        assert db.execute(statement, parameters).rowcount > 0


def folder(engine: Engine, name: str) -> Path:
    return engine.settings.data / "containers" / engine.client.api.inspect_container(name)["Id"]


def states(engine: Engine) -> str:
    return engine.docker("ps", "-a", "--format", "{{.Names}} {{.State}}").stdout


def told(engine: Engine) -> list[str]:
    """What `GET /info` says of damaged records."""
    return [line for line in engine.client.api.info()["Warnings"] or () if "damaged" in line]


def down(engine: Engine) -> None:
    """Kill the service, and forget what it has logged."""
    engine.close_client()
    engine.kill(signal.SIGKILL)
    engine.forget_log()


def warnings(engine: Engine) -> list[str]:
    return [line for line in engine.log.splitlines() if "WARNING" in line or "ERROR" in line or "Traceback" in line]


@pytest.mark.parametrize("document", [GARBAGE, b"[]"])
def test_a_damaged_container_record_costs_that_container_only(fresh_engine: Engine, document: bytes) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "-d", "--name", "bad", image, "sleep", "600")
    engine.docker("run", "-d", "--name", "good", image, "sleep", "600")
    bad, bad_pid, good_pid = folder(engine, "bad"), container_pid(engine, "bad"), container_pid(engine, "good")
    address = engine.docker("exec", "bad", "hostname", "-i").stdout.strip()
    down(engine)
    alter(engine, "UPDATE containers SET doc = ? WHERE name = 'bad'", document)
    engine.start()
    assert states(engine) == "good running\n"
    assert container_pid(engine, "good") == good_pid
    assert len([line for line in warnings(engine) if "record is damaged" in line and bad.name in line]) == 1
    assert [bad.name[:12] in line for line in told(engine)] == [True]
    # Nothing of it is touched until somebody says so.
    assert alive(bad_pid)
    there = f"ping -c 1 -W 2 {address} >/dev/null && echo there || echo gone"
    assert engine.docker("exec", "good", "sh", "-c", there).stdout == "there\n"
    assert engine.docker("run", "--rm", image, "hostname", "-i").stdout.strip() != address
    assert bad.is_dir()
    said = engine.docker("start", "bad", check=False).stderr
    assert "its record is damaged; it can only be removed, by force" in said
    assert "is already in use" in engine.docker("create", "--name", "bad", image, check=False).stderr
    engine.docker("rm", "-f", "bad")
    assert not alive(bad_pid)
    assert not bad.exists()
    assert engine.docker("exec", "good", "sh", "-c", there).stdout == "gone\n"
    assert engine.docker("run", "--rm", "--name", "bad", image, "echo", "again").stdout == "again\n"


@pytest.mark.parametrize("content", [GARBAGE, b'{"code": 3}'])
def test_a_damaged_note_of_an_end_is_an_end_without_a_code(fresh_engine: Engine, content: bytes) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    for name, code in (("bad", 3), ("good", 4)):
        script = f"trap 'exit {code}' USR1; while :; do sleep 0.05; done"
        engine.docker("run", "-d", "--name", name, image, "sh", "-c", script)
    bad = folder(engine, "bad")
    pids = [container_pid(engine, name) for name in ("bad", "good")]
    down(engine)
    for pid in pids:
        os.kill(pid, signal.SIGUSR1)
    wait_for(lambda: not any(map(alive, pids)), 10, "both to end")
    wait_for((bad / "exit.json").exists, 5, "the note")
    (bad / "exit.json").write_bytes(content)
    engine.start()
    codes = {name: engine.client.api.inspect_container(name)["State"]["ExitCode"] for name in ("bad", "good")}
    assert codes == {"bad": 255, "good": 4}
    assert "exited" in engine.docker("inspect", "-f", "{{.State.Status}}", "bad").stdout
    engine.docker("start", "bad")
    engine.docker("kill", "-s", "USR1", "bad")
    assert engine.docker("wait", "bad").stdout == "3\n"


def test_a_damaged_document_of_a_running_container_is_one_error_and_mended_by_its_next_start(engine: Engine) -> None:
    image = engine.import_busybox()
    engine.docker("run", "-d", "--name", "bad", image, "sleep", "600")
    (folder(engine, "bad") / "config.json").write_bytes(GARBAGE)
    done = engine.docker("exec", "bad", "true", check=False)
    assert done.returncode != 0
    assert "config.json" in done.stdout + done.stderr
    assert states(engine) == "bad running\n"
    engine.docker("restart", "-t", "0", "bad")
    assert engine.docker("exec", "bad", "echo", "mended").stdout == "mended\n"


@pytest.mark.parametrize("missing", ["upper", "work", "rootfs", "config.json", ""])
def test_a_container_whose_folder_lacks_something_starts_or_says_why_and_can_be_removed(
    engine: Engine, missing: str
) -> None:
    image = engine.import_busybox()
    engine.docker("create", "--name", "bad", image, "echo", "fine")
    bad = folder(engine, "bad")
    (bad / missing).unlink() if missing == "config.json" else shutil.rmtree(bad / missing)
    done = engine.docker("start", "-a", "bad", check=False)
    if done.returncode:
        assert "no such file or directory" in done.stderr
        assert len(done.stderr.strip().splitlines()) <= 2
        assert states(engine) == "bad created\n"
    else:
        assert done.stdout == "fine\n"
    assert "internal error" not in engine.log
    engine.docker("rm", "bad")
    assert not bad.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE endpoints SET doc = ?",
        "UPDATE networks SET doc = ?",
    ],
)
def test_damaged_networks_are_left_out_and_made_again(fresh_engine: Engine, statement: str) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "-d", "--name", "one", image, "sleep", "600")
    engine.docker("run", "-d", "--name", "two", "--network", "none", image, "sleep", "600")
    down(engine)
    alter(engine, statement, GARBAGE)
    engine.start()
    assert [line for line in warnings(engine) if "record is damaged" in line]
    assert sorted(states(engine).splitlines()) == ["one running", "two running"]
    one = engine.client.api.inspect_container("one")["Id"][:12]
    said = f"WARNING: Container {one}: the record of its connection to network bridge is damaged: restart it, or"
    assert any(said in line for line in told(engine))
    engine.docker("restart", "-t", "0", "one", "two")
    assert told(engine) == []
    assert "172." in engine.docker("exec", "one", "ip", "addr").stdout
    assert engine.docker("run", "--rm", image, "echo", "new").stdout == "new\n"


def test_a_damaged_network_of_ones_own_is_kept_aside_and_its_containers_say_what_to_do(fresh_engine: Engine) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("network", "create", "mine")
    engine.docker("create", "--name", "still", "--network", "mine", image, "true")
    engine.docker("run", "--network", "mine", "--name", "ended", image, "true")
    engine.docker("run", "-d", "--network", "mine", "--name", "up", image, "sleep", "600")
    down(engine)
    alter(engine, "UPDATE networks SET doc = ? WHERE name = 'mine'", GARBAGE)
    engine.start()
    assert len([line for line in warnings(engine) if "network" in line and "record is damaged (" in line]) == 1
    assert any("WARNING: Network mine: its record is damaged" in line for line in told(engine))
    assert any("connection to network mine is damaged" in line for line in told(engine))
    engine.kill(signal.SIGKILL)
    engine.start()  # it is not forgotten
    assert len(told(engine)) == 2
    assert "up running" in states(engine)
    assert list(engine.client.api.inspect_container("ended")["NetworkSettings"]["Networks"]) == ["mine"]
    done = engine.docker("start", "ended", check=False)
    assert "network mine not found: its record was damaged" in done.stderr
    assert "docker network disconnect -f mine ended" in done.stderr
    engine.docker("rm", "still")
    engine.docker("network", "create", "mine")
    assert not any("Network mine" in line for line in told(engine))
    for name in ("ended", "up"):
        engine.docker("network", "disconnect", "-f", "mine", name)
        engine.docker("network", "connect", "mine", name)
    assert told(engine) == []
    engine.docker("start", "ended")
    assert "172." in engine.docker("exec", "up", "ip", "addr").stdout


def test_a_damaged_network_that_nobody_wants_again_is_removed_by_its_name(fresh_engine: Engine) -> None:
    engine = fresh_engine
    engine.docker("network", "create", "mine")
    down(engine)
    alter(engine, "UPDATE networks SET doc = ? WHERE name = 'mine'", GARBAGE)
    engine.start()
    assert len(told(engine)) == 1
    assert "mine" not in engine.docker("network", "ls").stdout
    engine.docker("network", "rm", "mine")
    assert told(engine) == []
    assert "network mine not found" in engine.docker("network", "rm", "mine", check=False).stderr


def test_a_damaged_volume_record_keeps_the_data(fresh_engine: Engine) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "--rm", "-v", "kept:/data", image, "sh", "-c", "echo precious > /data/file")
    down(engine)
    alter(engine, "UPDATE volumes SET doc = ?", GARBAGE)
    engine.start()
    assert len([line for line in warnings(engine) if "record is damaged" in line]) == 1
    assert ["WARNING: Volume kept" in line for line in told(engine)] == [True]
    assert engine.docker("run", "--rm", "-v", "kept:/data", image, "cat", "/data/file").stdout == "precious\n"
    engine.docker("volume", "rm", "kept")


def test_a_database_that_is_none_is_said_and_nothing_is_touched(fresh_engine: Engine) -> None:
    from dosirak.engine.start import ServiceNotStartable

    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "-d", "--name", "one", image, "sleep", "600")
    pid, database = container_pid(engine, "one"), engine.settings.data / "state.db"
    down(engine)
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = database.read_bytes()
    database.write_bytes(b"this is no database\n" * 100)
    with pytest.raises(ServiceNotStartable) as refused:
        engine.start()
    assert str(refused.value) == f"state database {database}: file is not a database"
    assert alive(pid)
    database.write_bytes(whole)
    engine.start()
    assert states(engine) == "one running\n"


def test_a_data_root_that_can_only_be_read_is_said_and_leaves_containers_running(fresh_engine: Engine) -> None:
    from dosirak.engine.start import ServiceNotStartable

    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "-d", "--name", "one", image, "sleep", "600")
    pid, data = container_pid(engine, "one"), engine.settings.data
    down(engine)
    subprocess.run(["mount", "--bind", data, data], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", data], check=True)
        with pytest.raises(ServiceNotStartable, match="not writable"):
            engine.start()
    finally:
        subprocess.run(["umount", "-l", data], check=True)
    assert alive(pid)
    engine.start()
    assert states(engine) == "one running\n"
