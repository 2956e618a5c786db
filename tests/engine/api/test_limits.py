"""Update, pause, unpause and the host's limits through the API, the docker CLI and docker-py."""

from __future__ import annotations

from pathlib import Path

import pytest

from dosirak.engine.api import limits
from dosirak.engine.containers.limits import HostFacts
from dosirak.engine.runtime import cgroups

MB = 1 << 20


@pytest.fixture
def sleeper(client, busybox):
    """A running container."""
    return client.containers.run(busybox, "sleep 60", detach=True, name="sleeper", mem_limit="64m")


def test_docker_update_changes_a_running_container(docker, sleeper):
    done = docker("update", "--memory", "96m", "--pids-limit", "40", "--restart", "on-failure:3", "sleeper")
    assert done.stdout == "sleeper\n"
    sleeper.reload()
    host = sleeper.attrs["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (96 * MB, 128 * MB, 40)
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    docker("update", "--pids-limit", "-1", "sleeper")
    sleeper.reload()
    assert sleeper.attrs["HostConfig"]["PidsLimit"] == 0


def test_docker_update_fails_in_dockers_words(docker, sleeper):
    done = docker("update", "--memory", "1g", "sleeper", check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"Error response from daemon: Cannot update container {sleeper.id}: Memory limit should be smaller than already"
        " set memoryswap limit, update the memoryswap at the same time\n"
    )
    done = docker("update", "--cpus", "4000", "sleeper", check=False)
    assert "range of CPUs is from 0.01 to" in done.stderr


def test_docker_py_updates(sleeper):
    assert sleeper.update(cpu_shares=300, cpuset_cpus="0", restart_policy={"Name": "always"})["Warnings"] is None
    sleeper.reload()
    host = sleeper.attrs["HostConfig"]
    assert (host["CpuShares"], host["CpusetCpus"], host["RestartPolicy"]["Name"]) == (300, "0", "always")


def test_an_update_of_what_only_create_can_set_warns(ask, sleeper):
    body = {"CpuShares": 5, "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 1}], "Bogus": 1}
    answer = ask("POST", f"/v1.51/containers/{sleeper.id}/update", body)
    assert (answer.status, answer.json["Warnings"]) == (
        200,
        [
            "Ulimits can be set only when the container is created. Discarded.",
            "Bogus: unknown field, ignored",
        ],
    )


def test_old_clients_know_no_pids_limit(ask, sleeper):
    assert ask("POST", f"/v1.39/containers/{sleeper.id}/update", {"PidsLimit": 5}).status == 200
    sleeper.reload()
    assert sleeper.attrs["HostConfig"]["PidsLimit"] is None


def test_docker_pauses_and_unpauses(docker, sleeper):
    assert docker("pause", "sleeper").stdout == "sleeper\n"
    assert docker("ps", "--format", "{{.Names}} {{.State}} {{.Status}}").stdout.rstrip().endswith("(Paused)")
    assert docker("info", "--format", "{{.ContainersPaused}} {{.ContainersRunning}}").stdout == "1 0\n"
    done = docker("pause", "sleeper", check=False)
    assert (done.returncode, done.stderr) == (
        1,
        f"Error response from daemon: container {sleeper.id} is already paused\n",
    )
    done = docker("exec", "sleeper", "true", check=False)
    assert "Container sleeper is paused, unpause the container before exec" in done.stderr
    done = docker("rm", "sleeper", check=False)
    assert "container is paused and must be unpaused first" in done.stderr
    assert docker("unpause", "sleeper").stdout == "sleeper\n"
    done = docker("unpause", "sleeper", check=False)
    assert (done.returncode, done.stderr) == (1, f"Error response from daemon: Container {sleeper.id} is not paused\n")
    docker("pause", "sleeper")
    assert docker("stop", "-t", "0", "sleeper").stdout == "sleeper\n"


def test_info_says_what_the_host_can_limit(ask):
    found = ask("GET", "/v1.51/info").json
    host = cgroups.version()
    assert found["CgroupVersion"] == host
    assert found["MemoryLimit"] is True
    assert found["PidsLimit"] is True
    assert found["OomKillDisable"] is (host == "1")
    assert not [line for line in found["Warnings"] or () if "memory" in line]
    filters = "\nSeccomp:" in Path("/proc/self/status").read_text()
    assert ("name=seccomp,profile=builtin" in found["SecurityOptions"]) is filters


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        (HostFacts(version="2"), []),
        (HostFacts(version="1"), ["No oom kill disable support"]),
        (HostFacts(version="1", oom_kill_disable=True, blkio_weight=False), []),
        (HostFacts(version="2", swap=False, cpuset=False), ["No swap limit support", "No cpuset support"]),
        (
            HostFacts(version="2", blkio_weight=False, blkio_weight_device=False),
            ["No io.weight support", "No io.weight (per device) support"],
        ),
        (
            HostFacts(version="2", blkio_throttle=False),
            [f"No io.max ({kind}) support" for kind in ("rbps", "wbps", "riops", "wiops")],
        ),
        (
            HostFacts(version="1", oom_kill_disable=True, blkio_throttle=False),
            [
                f"No blkio throttle.{kind}_device support"
                for kind in ("read_bps", "write_bps", "read_iops", "write_iops")
            ],
        ),
        (HostFacts(cpu_quota=False), ["No cpu cfs quota support", "No cpu cfs period support"]),
    ],
)
def test_what_the_host_lacks_is_in_the_warnings_of_info(facts, lines):
    assert limits.warnings(facts) == [f"WARNING: {line}" for line in lines]
