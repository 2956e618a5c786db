"""Pause, unpause, update and stats in cells and as commands, on a real engine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pexpect
import pytest

from dosirak.magics.errors import DosirakError, UsageError
from dosirak.magics.usage.measure import usage

MB = 1 << 20
COMMAND = str(Path(sys.executable).with_name("dosirak"))
FORMAT = "{{.ID}}|{{.Name}}|{{.Container}}|{{.MemUsage}}|{{.MemPerc}}|{{.BlockIO}}|{{.PIDs}}"


def test_pause_and_unpause_yield_the_container(magic: Any) -> None:
    magic("container", "run -d --name still busybox sleep 100")
    container = magic("container", "pause still")
    assert container.status == "paused"
    assert magic("container", "ps").STATE.tolist() == ["paused"]
    with pytest.raises(DosirakError, match="is already paused"):
        magic("docker", "pause still")
    assert magic("container", "unpause still").status == "running"
    with pytest.raises(DosirakError, match="is not paused"):
        magic("docker", "unpause still")


def test_update_changes_limits_and_shows_warnings(magic: Any, capsys: pytest.CaptureFixture[str]) -> None:
    magic("container", "run -d --name box -m 64m busybox sleep 100")
    container = magic("container", "update -m 96m --pids-limit 9 --restart always box")
    host = container.attrs["HostConfig"]
    assert (host["Memory"], host["PidsLimit"], host["RestartPolicy"]["Name"]) == (96 * MB, 9, "always")
    assert "memory 96MiB" in repr(container)
    disk = next(path for name in os.listdir("/sys/block") if Path(path := f"/dev/{name}").is_block_device())
    magic("container", f"update --device-write-bps {disk}:1mb box")
    container.reload()
    assert container.attrs["HostConfig"]["BlkioDeviceWriteBps"] == [{"Path": disk, "Rate": MB}]
    with pytest.raises(UsageError, match="you must provide one or more flags when using this command"):
        magic("container", "update box")
    capsys.readouterr()
    magic("container", "update --kernel-memory 50m --cpu-shares 100 box")
    assert "Kernel memory limits are deprecated and not supported. Limitation discarded." in capsys.readouterr().err
    with pytest.raises(DosirakError, match="Minimum memory limit allowed is 6MB"):
        magic("container", "update -m 1m box")


def test_stats_are_a_dataframe_of_real_values(magic: Any) -> None:
    magic("container", "run -d --name busy -m 64m busybox sh -c 'while :; do :; done'")
    magic("container", "run -d --name idle busybox sleep 100")
    found = magic("container", "stats")
    assert isinstance(found, pd.DataFrame)
    assert set(found.NAME) == {"busy", "idle"}
    found = found.set_index("NAME")
    assert found["CPU %"]["busy"] > found["CPU %"]["idle"]
    assert found["MEM LIMIT"]["busy"] == 64 * MB
    assert found["MEM USAGE / LIMIT"]["busy"].endswith(" / 64MiB")
    assert found["MEM USAGE"].dtype == "int64"
    assert found.PIDS["idle"] == 1
    text = repr(magic("container", "stats idle"))
    assert text.splitlines()[0].split("   ")[0] == "CONTAINER ID"
    assert "MEM LIMIT" not in text
    assert magic("container", "stats --format '{{.Name}} {{.PIDs}}' idle") == ["idle 1"]
    with pytest.raises(DosirakError, match="No such container: nope"):
        magic("container", "stats nope")


def test_stats_of_what_does_not_run_are_zero(magic: Any) -> None:
    magic("container", "create --name idle busybox true")
    assert magic("container", "stats").empty
    (row,) = magic("container", "stats -a").to_dict("records")
    assert (row["NAME"], row["CPU %"], row["PIDS"], row["MEM USAGE / LIMIT"]) == ("idle", 0.0, 0, "0B / 0B")


def test_a_live_table_changes_in_place_until_it_is_interrupted(kernel: Any) -> None:
    kernel.run("%container run -d --name one busybox sleep 100")
    ran = kernel.run("%container stats --live", interrupts=(4.0,))
    assert not ran.error
    assert len(ran.data) >= 2
    assert "<table" in ran.data[-1]["text/html"]
    assert "one" in ran.data[-1]["text/html"]
    assert ran.text.splitlines()[0].startswith("CONTAINER ID")


def test_the_command_prints_what_docker_prints(engine: Any, busybox: str, docker: Any) -> None:
    docker("run", "-d", "--name", "one", "-m", "64m", busybox, "sleep", "100")
    docker("create", "--name", "two", busybox, "true")
    docker("pause", "one")

    def dosirak(*arguments: str) -> str:
        done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, env=engine.environment())
        assert done.returncode == 0, done.stderr
        return done.stdout

    for arguments in (
        ("stats", "--no-stream", "-a", "--format", FORMAT),
        ("stats", "--no-stream", "--no-trunc", "--format", FORMAT, "one"),
    ):
        for _ in range(10):
            ours, theirs = (sorted(run(*arguments).splitlines()) for run in (dosirak, lambda *a: docker(*a).stdout))
            if ours == theirs:  # each processor gives back charged memory when it likes, of a paused container too
                break
        assert ours == theirs
    ours, theirs = dosirak("stats", "--no-stream", "one"), docker("stats", "--no-stream", "one").stdout
    assert ours.splitlines()[0].rstrip() == theirs.splitlines()[0].rstrip()
    assert dosirak("unpause", "one") == "one\n"
    assert dosirak("update", "--cpu-shares", "7", "one", "two") == "one\ntwo\n"


def test_in_a_terminal_it_goes_on_until_interrupted(engine: Any, busybox: str, docker: Any) -> None:
    docker("run", "-d", "--name", "one", busybox, "sleep", "100")
    terminal = pexpect.spawn(COMMAND, ["stats"], env=engine.environment(), encoding="utf-8", timeout=20)
    for _ in range(2):
        terminal.expect_exact("\x1b[H")
        terminal.expect_exact("one")
    time.sleep(0.2)
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def sample(total: int, system: int, **more: Any) -> dict[str, Any]:
    return {"cpu_stats": {"cpu_usage": {"total_usage": total}, "system_cpu_usage": system, "online_cpus": 4}, **more}


def test_the_figures_are_those_of_dockers_client() -> None:
    found = usage(
        "x",
        sample(
            300,
            2000,
            name="/web",
            id="abc",
            memory_stats={"usage": 100, "limit": 1000, "stats": {"total_inactive_file": 40, "inactive_file": 1}},
            networks={
                "eth0": {"rx_bytes": 1, "tx_bytes": 2},
                "eth1": {"rx_bytes": 10, "tx_bytes": 20},
            },
            blkio_stats={
                "io_service_bytes_recursive": [{"op": "Read", "value": 5}, {"op": "write", "value": 7}, {"op": ""}]
            },
            pids_stats={"current": 3},
        ),
        sample(100, 1000),
    )
    assert (found.name, found.id, found.asked) == ("web", "abc", "x")
    assert found.cpu == 200 / 1000 * 4 * 100
    assert (found.memory, found.limit, found.memory_share) == (60, 1000, 6.0)
    assert (found.received, found.sent, found.read, found.written, found.pids) == (11, 22, 5, 7, 3)
    assert usage("x", {}, None).cpu == 0.0
