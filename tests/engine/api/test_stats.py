"""`GET /containers/{id}/stats`, as the docker CLI, docker-py and API 1.51's description have it."""

from __future__ import annotations

import itertools

import pytest

from dosirak.engine.api.stats import document
from dosirak.engine.containers.stats import Sample
from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.cgroups import statistics
from dosirak.engine.runtime.cgroups.statistics import Cpu, Device, Figures, Memory

FIELDS = {
    *("name", "id", "read", "preread", "pids_stats", "blkio_stats", "num_procs", "storage_stats", "cpu_stats"),
    *("precpu_stats", "memory_stats"),
}


@pytest.fixture
def sleeper(client, busybox):
    """A running container."""
    return client.containers.run(busybox, "sleep 60", detach=True, name="sleeper", mem_limit="64m", pids_limit=20)


def test_one_shot_is_one_sample(ask, sleeper):
    found = ask("GET", f"/v1.51/containers/{sleeper.id}/stats?stream=0&one-shot=1").json
    assert found.keys() == FIELDS | {"networks"}
    assert (found["name"], found["id"]) == ("/sleeper", sleeper.id)
    assert found["preread"] == "0001-01-01T00:00:00Z"
    assert found["read"] > "2020"
    assert found["pids_stats"] == {"current": 1, "limit": 20}
    assert found["memory_stats"]["limit"] == 64 << 20
    key = "total_inactive_file" if cgroups.version() == "1" else "inactive_file"
    assert key in found["memory_stats"]["stats"]
    assert found["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert found["cpu_stats"]["system_cpu_usage"] > 0
    assert found["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert "system_cpu_usage" not in found["precpu_stats"]
    assert found["networks"]["eth0"].keys() == {
        f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped")
    }


def test_without_a_stream_there_are_two_samples_for_a_percentage(sleeper):
    found = sleeper.stats(stream=False)
    assert found["read"] > found["preread"] > "2020"
    assert found["precpu_stats"]["system_cpu_usage"] < found["cpu_stats"]["system_cpu_usage"]


def test_a_stream_of_samples_each_with_the_one_before(sleeper):
    first, second = itertools.islice(sleeper.stats(decode=True), 2)
    assert first["preread"].startswith("0001")
    assert second["preread"] == first["read"]
    assert second["precpu_stats"] == first["cpu_stats"]


def test_what_does_not_run_has_no_figures(ask, client, busybox):
    container = client.containers.create(busybox, "true", name="idle")
    for query in ("stream=0", "stream=0&one-shot=1"):
        found = ask("GET", f"/v1.51/containers/{container.id}/stats?{query}").json
        assert found.keys() == FIELDS
        assert (found["memory_stats"], found["pids_stats"]) == ({}, {})
        assert found["read"].startswith("0001")
        assert found["blkio_stats"]["io_service_bytes_recursive"] is None
    answer = ask("GET", "/v1.51/containers/nope/stats")
    assert (answer.status, answer.message) == (404, "No such container: nope")


def test_the_docker_cli_shows_them(docker, sleeper):
    lines = docker("stats", "--no-stream", "sleeper").stdout.splitlines()
    assert lines[0].split("  ")[0] == "CONTAINER ID"
    assert lines[1].startswith(sleeper.id[:12])
    assert "/ 64MiB" in lines[1]
    form = "{{.Name}} {{.PIDs}} {{.NetIO}}"
    assert docker("stats", "--no-stream", "--format", form).stdout.startswith("sleeper 1 ")


class Named:
    """What `document` wants of a container."""

    id, name = "1" * 64, "web"


def test_the_shape_on_a_v2_host():
    cpu = Cpu(total=300, kernel=100, user=200, periods=5, throttled_periods=4, throttled=3)
    detail = {"anon": 1, "file": 2, "inactive_file": 3, "workingset_refault_anon": 4, "workingset_refault_file": 5}
    figures = Figures(
        cpu=cpu,
        memory=Memory(4096, statistics.UNLIMITED, detail, failures=2),
        pids=3,
        pids_limit=statistics.UNLIMITED,
        io_bytes=[Device(8, 0, "read", 10), Device(8, 0, "write", 20)],
    )
    found = document(Named, Sample(10**18, figures, 1 << 30, 1000, 2), None)
    assert found["cpu_stats"] == {
        "cpu_usage": {"total_usage": 300, "usage_in_kernelmode": 100, "usage_in_usermode": 200},
        "system_cpu_usage": 1000,
        "online_cpus": 2,
        "throttling_data": {"periods": 5, "throttled_periods": 4, "throttled_time": 3},
    }
    assert found["pids_stats"] == {"current": 3, "limit": 18446744073709551615}
    memory = found["memory_stats"]
    assert (memory["usage"], memory["limit"], memory["failcnt"]) == (4096, 1 << 30, 2)
    assert "max_usage" not in memory
    assert memory["stats"]["inactive_file"] == 3
    assert memory["stats"]["workingset_refault"] == 9
    assert memory["stats"].keys() >= {"kernel_stack", "pgfault", "thp_collapse_alloc"}
    assert found["blkio_stats"]["io_service_bytes_recursive"] == [
        {"major": 8, "minor": 0, "op": "read", "value": 10},
        {"major": 8, "minor": 0, "op": "write", "value": 20},
    ]
    assert found["blkio_stats"]["io_serviced_recursive"] is None
    assert "networks" not in found


def test_the_docker_cli_follows_containers_as_they_come_and_go(engine, client, busybox, sleeper):
    process = engine.docker_popen("stats", "--format", "<{{.Name}} {{.PIDs}}>")

    def until(words):
        seen = ""
        while words not in seen:
            seen += process.stdout.readline()

    try:
        until("<sleeper 1>")
        until("<sleeper 1>")
        client.containers.run(busybox, "sleep 60", detach=True, name="second")
        until("<second 1>")
        sleeper.remove(force=True)
        # Two frames in a row with the second alone.
        seen = [""]
        while "sleeper" in "".join(seen[-2:]) or len(seen) < 3:
            seen.append(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
        process.stdin.close()
