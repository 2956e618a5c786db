"""What an update makes of a container's limits: Docker's rules and words."""

from __future__ import annotations

import pytest

from dosirak.engine.containers import Container, ContainerConfig, HostConfig, UpdateRequest
from dosirak.engine.containers.documents import DeviceMapping, RestartPolicy, ThrottleDevice, Ulimit, WeightDevice
from dosirak.engine.containers.limits import changes, checks, group
from dosirak.engine.containers.limits.facts import HostFacts
from dosirak.engine.errors import Conflict, InvalidRequest

MB = 1 << 20
RATE = ThrottleDevice(path="/dev/null", rate=1000)


@pytest.mark.parametrize(
    ("host", "update", "changed"),
    [
        ({}, {}, {}),
        ({"cpu_shares": 5}, {"cpu_shares": 7}, {"cpu_shares": 7}),
        ({"cpu_shares": 5}, {"cpu_shares": 0}, {"cpu_shares": 5}),
        (
            {"memory": 64 * MB, "memory_swap": 128 * MB},
            {"memory": 96 * MB},
            {"memory": 96 * MB, "memory_swap": 128 * MB},
        ),
        ({}, {"memory": 64 * MB, "memory_swap": -1}, {"memory": 64 * MB, "memory_swap": -1}),
        ({"pids_limit": 5}, {"pids_limit": 0}, {"pids_limit": 0}),
        ({"pids_limit": 5}, {}, {"pids_limit": 5}),
        ({"blkio_device_read_bps": [RATE]}, {"blkio_device_read_bps": []}, {"blkio_device_read_bps": []}),
        ({"blkio_device_read_bps": [RATE]}, {}, {"blkio_device_read_bps": [RATE]}),
        ({}, {"cpuset_cpus": "0", "cpuset_mems": "0"}, {"cpuset_cpus": "0", "cpuset_mems": "0"}),
    ],
)
def test_what_is_asked_changes_and_what_is_empty_stays(host, update, changed):
    found = changes.apply(HostConfig(**host), UpdateRequest(**update))
    assert {name: getattr(found, name) for name in changed} == changed


def test_a_restart_policy_changes_when_it_is_named():
    host = HostConfig(restart_policy=RestartPolicy(name="always"))
    assert changes.apply(host, UpdateRequest(), RestartPolicy()).restart_policy.name == "always"
    assert changes.apply(host, UpdateRequest(), RestartPolicy(name="no")).restart_policy.name == "no"


@pytest.mark.parametrize(
    ("host", "update", "words"),
    [
        ({"cpu_period": 1000}, {"nano_cpus": 1}, "Nano CPUs cannot be updated as CPU Period has already been set"),
        ({"cpu_quota": 1000}, {"nano_cpus": 1}, "Nano CPUs cannot be updated as CPU Quota has already been set"),
        ({"nano_cpus": 1}, {"cpu_period": 1000}, "CPU Period cannot be updated as NanoCPUs has already been set"),
        ({"nano_cpus": 1}, {"cpu_quota": 1000}, "CPU Quota cannot be updated as NanoCPUs has already been set"),
        (
            {"memory": 64 * MB, "memory_swap": 64 * MB},
            {"memory": 128 * MB},
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
        ({}, {"memory": 128 * MB}, "Memory limit should be smaller than already set memoryswap limit"),
    ],
)
def test_contradictions_to_what_is_set_are_dockers_conflict(host, update, words):
    with pytest.raises(Conflict) as error:
        changes.apply(HostConfig(**host), UpdateRequest(**update))
    assert words in str(error.value)


def test_a_container_of_rm_gets_no_restart_policy():
    host = HostConfig(auto_remove=True)
    with pytest.raises(Conflict, match="Restart policy cannot be updated because AutoRemove is enabled"):
        changes.apply(host, UpdateRequest(), RestartPolicy(name="always"))
    assert changes.apply(host, UpdateRequest(), RestartPolicy(name="no")).restart_policy.name == "no"


def test_what_only_create_can_set_is_told():
    request = UpdateRequest(
        cpu_shares=5, ulimits=[Ulimit(name="nofile", soft=1, hard=1)], devices=[DeviceMapping()], cgroup_parent="/x"
    )
    assert changes.discarded(request) == [
        f"{name} can be set only when the container is created. Discarded."
        for name in ("CgroupParent", "Devices", "Ulimits")
    ]
    assert changes.discarded(UpdateRequest(devices=[], ulimits=[])) == []


@pytest.mark.parametrize(
    ("before", "after", "resources"),
    [
        ({}, {}, {}),
        ({"cpu_shares": 5}, {"cpu_shares": 5}, {}),
        ({"cpu_shares": 5}, {"cpu_shares": 7}, {"cpu": {"shares": 7}}),
        (
            {"memory": 64 * MB, "memory_swap": 128 * MB},
            {"memory": 96 * MB, "memory_swap": 128 * MB},
            {"memory": {"limit": 96 * MB, "swap": 128 * MB}},
        ),
        ({"pids_limit": 5}, {"pids_limit": 0}, {"pids": {"limit": -1}}),
        ({"pids_limit": 5}, {}, {"pids": {"limit": -1}}),
        ({"memory": 64 * MB, "memory_swap": 128 * MB}, {}, {"memory": {"limit": -1, "swap": -1}}),
        ({"cpu_quota": 5000}, {"cpu_period": 50000}, {"cpu": {"quota": -1, "period": 50000}}),
        ({"nano_cpus": 10**9}, {}, {"cpu": {"quota": -1, "period": 100_000}}),
        (
            {"blkio_device_read_bps": [RATE], "blkio_weight": 50},
            {"blkio_device_read_bps": []},
            {"blockIO": {"weight": 100, "throttleReadBpsDevice": [{"major": 1, "minor": 3, "rate": 0}]}},
        ),
        (
            {"blkio_weight_device": [WeightDevice(path="/dev/null", weight=20)]},
            {"blkio_weight_device": [WeightDevice(path="/dev/zero", weight=30)]},
            {
                "blockIO": {
                    "weightDevice": [{"major": 1, "minor": 3, "weight": 0}, {"major": 1, "minor": 5, "weight": 30}]
                }
            },
        ),
    ],
)
def test_what_the_kernel_is_told(before, after, resources):
    assert changes.resources(HostConfig(**before), HostConfig(**after)) == resources


def test_a_device_that_is_not_there():
    after = HostConfig(blkio_device_write_bps=[ThrottleDevice(path="/dev/no-such", rate=1)])
    with pytest.raises(InvalidRequest, match=r"^stat /dev/no-such: no such file or directory$"):
        changes.resources(HostConfig(), after)


@pytest.mark.parametrize(
    ("parent", "path"),
    [
        ("", "dosirak/1"),
        ("/web", "web/1"),
        ("web/front/", "web/front/1"),
        ("../../x/../web", "web/1"),
        ("/", "1"),
        ("..", "1"),
    ],
)
def test_where_the_cgroup_is(parent, path):
    config = HostConfig(cgroup_parent=parent)
    record = Container("1", "name", 0.0, "", "true", [], ContainerConfig(), config)
    assert group.path_of(record) == path


@pytest.mark.parametrize("parent", ["/a\nb", "/" + "x" * 256, "\x7f"])
def test_a_parent_that_can_not_be(parent):
    with pytest.raises(InvalidRequest, match="invalid cgroup parent"):
        group.check(parent)


def test_an_update_of_swap_alone_is_allowed():
    request = UpdateRequest(memory_swap=64 * MB)
    assert checks.check(request, HostFacts(), update=True) == []
