"""What create refuses and warns of; the words are Docker's."""

from __future__ import annotations

import pytest

from dosirak.engine.containers import checks, names, ports, security, signals
from dosirak.engine.containers.documents import (
    ContainerConfig,
    DeviceMapping,
    DeviceRequest,
    EndpointIPAMConfig,
    EndpointSettings,
    HealthConfig,
    HostConfig,
    LogConfig,
    NetworkingConfig,
    PortBinding,
    RestartPolicy,
    ThrottleDevice,
    Ulimit,
)
from dosirak.engine.containers.facts import Facts
from dosirak.engine.containers.limits import checks as limits
from dosirak.engine.containers.limits.facts import HostFacts
from dosirak.engine.errors import Conflict, EngineError, InvalidRequest, NotSupported
from dosirak.engine.runtime.defaults import DEFAULT_CAPABILITIES

AVAILABLE = tuple(dict.fromkeys([*DEFAULT_CAPABILITIES, "CAP_NET_ADMIN", "CAP_SYS_ADMIN"]))
FACTS = Facts(HostFacts(cpu_count=2, cpus="0-1", mems="0"), AVAILABLE)


def check(config=None, networking=None, facts=FACTS, **host):
    host_config = HostConfig(**host)
    warnings = checks.check(config or ContainerConfig(), host_config, networking or NetworkingConfig(), facts)
    return host_config, warnings


def test_defaults_are_filled_in():
    host, warnings = check(memory=64 << 20)
    assert warnings == []
    assert (host.network_mode, host.ipc_mode, host.cgroupns_mode) == ("bridge", "private", "private")
    assert host.shm_size == 64 << 20
    assert host.memory_swap == 128 << 20
    assert host.restart_policy.name == "no"
    assert host.log_config.type == "json-file"


REFUSED = [
    ({"memory": 1 << 20}, "Minimum memory limit allowed is 6MB"),
    ({"memory": 64 << 20, "memory_swap": 32 << 20}, "Minimum memoryswap limit should be larger than memory limit"),
    ({"memory_swap": 64 << 20}, "You should always set the Memory limit when using Memoryswap limit, see usage"),
    ({"memory_swappiness": 101}, "Invalid value: 101, valid memory swappiness range is 0-100"),
    ({"memory_reservation": 1}, "Minimum memory reservation allowed is 6MB"),
    ({"nano_cpus": 3 * 10**9}, "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
    ({"nano_cpus": 10**9, "cpu_quota": 1000}, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
    ({"cpu_period": 10}, "CPU cfs period can not be less than 1ms"),
    ({"cpu_quota": 10}, "CPU cfs quota can not be less than 1ms"),
    ({"cpuset_cpus": "0-7"}, "Requested CPUs are not available - requested 0-7, available: 0-1"),
    ({"cpuset_cpus": "a"}, "Invalid value a for cpuset cpus"),
    ({"blkio_weight": 5}, "Range of blkio weight is from 10 to 1000"),
    ({"shm_size": -1}, "SHM size can not be less than 0"),
    ({"oom_score_adj": 2000}, "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
    ({"ipc_mode": "odd"}, "invalid IPC mode: odd"),
    ({"pid_mode": "container:"}, "invalid PID mode: container:"),
    ({"uts_mode": "private"}, "invalid UTS mode: private"),
    ({"cgroupns_mode": "odd"}, "invalid cgroup namespace mode: odd"),
    ({"restart_policy": RestartPolicy(name="sometimes")}, "invalid restart policy: unknown policy 'sometimes'"),
    (
        {"restart_policy": RestartPolicy(name="always", maximum_retry_count=3)},
        "invalid restart policy: maximum retry count can only be used with 'on-failure'",
    ),
    (
        {"auto_remove": True, "restart_policy": RestartPolicy(name="always")},
        "can't create 'AutoRemove' container with restart policy",
    ),
    ({"cap_add": ["BOGUS"]}, 'invalid CapAdd: unknown capability: "CAP_BOGUS"'),
    ({"cap_add": ["SYS_RESOURCE"]}, "not available in the current environment"),
    ({"cap_drop": ["nope"]}, 'invalid CapDrop: unknown capability: "CAP_NOPE"'),
    ({"security_opt": ["bogus=1"]}, 'invalid --security-opt 2: "bogus=1"'),
    ({"security_opt": ["bogus"]}, 'invalid --security-opt 1: "bogus"'),
    ({"security_opt": ["apparmor=docker-default"]}, "AppArmor is not supported on this host"),
    ({"sysctls": {"kernel.core_pattern": "x"}}, 'sysctl "kernel.core_pattern" is not in a separate kernel namespace'),
    ({"sysctls": {"net.ipv4/../x": "1"}}, "invalid sysctl name"),
    ({"sysctls": {"net.ipv4.ip_forward": "1"}, "network_mode": "host"}, "not allowed in host network namespace"),
    ({"sysctls": {"kernel.hostname": "x"}}, 'conflicts with the OCI "hostname" field'),
    ({"sysctls": {"kernel.domainname": "x"}, "uts_mode": "host"}, "is not in a separate kernel namespace"),
    ({"sysctls": {"kernel.sem": "1"}, "ipc_mode": "host"}, "is not allowed in the hosts ipc namespace"),
    ({"ulimits": [Ulimit(name="bogus", soft=1, hard=1)]}, "invalid ulimit type: bogus"),
    (
        {"ulimits": [Ulimit(name="nofile", soft=2, hard=1)]},
        "soft limit must be less than or equal to hard limit: 2 > 1",
    ),
    ({"device_cgroup_rules": ["x 1:2 r"]}, "invalid device cgroup rule format: 'x 1:2 r'"),
    ({"log_config": LogConfig(type="syslog")}, "logger: no log driver named 'syslog' is registered"),
    ({"log_config": LogConfig(config={"bogus": "1"})}, "unknown log opt 'bogus' for json-file log driver"),
    ({"log_config": LogConfig(config={"max-size": "x"})}, "invalid size: 'x'"),
    ({"device_requests": [DeviceRequest(count=-1, capabilities=[["gpu"]])]}, "could not select device driver"),
    ({"runtime": "kata"}, "unknown or invalid runtime name: kata"),
    ({"isolation": "hyperv"}, "invalid isolation (hyperv): linux only supports 'default'"),
    ({"extra_hosts": ["nope"]}, "bad format for add-host"),
    ({"extra_hosts": ["a\n1.2.3.4 evil:1.2.3.4"]}, "add-host"),
    ({"dns": ["not-an-address"]}, "invalid IP address in dns"),
    ({"port_bindings": {"80/odd": None}}, 'invalid port specification: "80/odd"'),
    ({"port_bindings": {"0/tcp": None}}, 'invalid port specification: "0/tcp"'),
    ({"port_bindings": {"80/tcp": [PortBinding(host_port="99999")]}}, 'invalid port specification: "99999"'),
    ({"group_add": ["a,b"]}, "invalid group 'a,b'"),
    ({"annotations": {"": "x"}}, "the empty string is not permitted as an annotation key"),
]


@pytest.mark.parametrize(("host", "words"), REFUSED, ids=[words[:40] for _, words in REFUSED])
def test_refusals(host, words):
    with pytest.raises(InvalidRequest) as error:
        check(**host)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"working_dir": "rel"}, "the working directory 'rel' is invalid"),
        ({"stop_signal": "SIGBOGUS"}, "invalid signal: SIGBOGUS"),
        ({"env": ["=x"]}, "invalid environment variable"),
        ({"env": [""]}, "invalid environment variable"),
        ({"env": ["A=\0"]}, "invalid environment variable"),
        ({"cmd": ["a\0b"]}, "invalid command: contains a NUL character"),
        ({"hostname": "h" * 65}, "is too long (maximum 64 bytes)"),
        ({"hostname": "a\n1.2.3.4 evil"}, "invalid hostname"),
        ({"domainname": "a b"}, "invalid domainname"),
        ({"healthcheck": HealthConfig(interval=5)}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"healthcheck": HealthConfig(retries=-1)}, "Retries in Healthcheck cannot be negative"),
        ({"exposed_ports": {"x": {}}}, 'invalid port specification: "x"'),
    ],
)
def test_refusals_of_the_configuration(config, words):
    with pytest.raises(InvalidRequest) as error:
        check(ContainerConfig(**config))
    assert words in str(error.value)


def test_several_networks_go_with_bridges_only():
    check(networking=NetworkingConfig(endpoints_config={"a": EndpointSettings(), "b": EndpointSettings()}))
    for other, words in (("none", r"private \(none\) mode"), ("host", "cannot be connected to any other network")):
        networking = NetworkingConfig(endpoints_config={"a": EndpointSettings(), other: EndpointSettings()})
        with pytest.raises(InvalidRequest, match=words):
            check(networking=networking)


@pytest.mark.parametrize(
    ("endpoint", "kind", "words"),
    [
        ({"aliases": ["x"]}, InvalidRequest, "only supported for user-defined networks"),
        ({"ipam_config": EndpointIPAMConfig(ipv4_address="1.2.3.4")}, InvalidRequest, "user defined networks only"),
        ({"ipam_config": EndpointIPAMConfig(ipv6_address="::2")}, InvalidRequest, "user defined networks only"),
        ({"links": [":x"]}, InvalidRequest, "bad format for links: :x"),
        ({"driver_opts": {"com.docker.network.endpoint.sysctls": "b"}}, NotSupported, "driver options of an endpoint"),
    ],
)
def test_what_an_endpoint_can_t_have(endpoint, kind, words):
    with pytest.raises(kind) as error:
        check(networking=NetworkingConfig(endpoints_config={"default": EndpointSettings(**endpoint)}))
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("facts", "host", "field", "left", "warning"),
    [
        ({"memory": False}, {"memory": 64 << 20}, "memory", 0, "memory limit capabilities"),
        ({"swap": False}, {"memory": 64 << 20}, "memory_swap", -1, "Memory limited without swap"),
        ({"pids": False}, {"pids_limit": 10}, "pids_limit", None, "PIDs limit discarded"),
        ({"cpu_shares": False}, {"cpu_shares": 10}, "cpu_shares", 0, "Shares discarded"),
        ({"cpuset": False}, {"cpuset_cpus": "0"}, "cpuset_cpus", "", "Cpuset discarded"),
        ({"swappiness": False}, {"memory_swappiness": 5}, "memory_swappiness", None, "swappiness discarded"),
        ({"blkio_weight": False}, {"blkio_weight": 10}, "blkio_weight", 0, "Weight discarded"),
        (
            {"blkio_throttle": False},
            {"blkio_device_read_bps": [ThrottleDevice(path="/dev/null", rate=1)]},
            "blkio_device_read_bps",
            [],
            "BPS read limit discarded",
        ),
        ({}, {"kernel_memory": 1}, "kernel_memory", 0, "Kernel memory limits"),
    ],
)
def test_what_the_host_lacks_is_discarded_with_a_warning(facts, host, field, left, warning):
    found, warnings = check(facts=Facts(HostFacts(**facts), AVAILABLE), **host)
    assert getattr(found, field) == left
    assert any(warning in line for line in warnings), warnings


def test_published_ports_with_the_hosts_network_are_discarded_with_a_warning():
    _, warnings = check(network_mode="host", port_bindings={"80/tcp": [PortBinding()]})
    assert warnings == ["Published ports are discarded when using host network mode"]


@pytest.mark.parametrize(
    ("host", "names_"),
    [
        ({}, list(DEFAULT_CAPABILITIES)),
        ({"cap_add": ["net_admin"]}, [*DEFAULT_CAPABILITIES, "CAP_NET_ADMIN"]),
        ({"cap_drop": ["ALL"]}, []),
        ({"cap_drop": ["ALL"], "cap_add": ["CAP_CHOWN"]}, ["CAP_CHOWN"]),
        ({"cap_add": ["ALL"], "cap_drop": ["SYS_ADMIN"]}, [name for name in AVAILABLE if name != "CAP_SYS_ADMIN"]),
        ({"cap_drop": ["mknod"]}, [name for name in DEFAULT_CAPABILITIES if name != "CAP_MKNOD"]),
        ({"privileged": True}, list(AVAILABLE)),
    ],
)
def test_capabilities(host, names_):
    assert security.choose_capabilities(HostConfig(**host), AVAILABLE) == names_


def test_security_options():
    parse = security.parse_security_options
    assert parse(["no-new-privileges"], apparmor=False).no_new_privileges
    assert parse(["no-new-privileges:false"], apparmor=False).no_new_privileges is False
    assert parse(["label=disable", "label:user:x"], apparmor=False) == security.SecurityOptions()
    assert parse(["seccomp=unconfined"], apparmor=False).seccomp == "unconfined"
    assert parse(['seccomp={"a":"b=c"}'], apparmor=False).seccomp == '{"a":"b=c"}'
    assert parse(["systempaths=unconfined"], apparmor=False).unmasked
    assert parse(["writable-cgroups=true"], apparmor=False).writable_cgroups is True


def test_devices_of_the_host_and_their_refusal():
    (null,) = security.devices_of(DeviceMapping(path_on_host="/dev/null", path_in_container="/dev/nothing"))
    assert (null["path"], null["type"], null["major"], null["minor"]) == ("/dev/nothing", "c", 1, 3)
    with pytest.raises(
        InvalidRequest, match='error gathering device information while adding custom device "/etc/passwd"'
    ):
        security.devices_of(DeviceMapping(path_on_host="/etc/passwd"))
    with pytest.raises(InvalidRequest, match="no such file or directory"):
        security.devices_of(DeviceMapping(path_on_host="/dev/no-such"))


@pytest.mark.parametrize(("text", "numbers"), [("", set()), ("0-2,5", {0, 1, 2, 5}), ("3", {3})])
def test_cpu_lists(text, numbers):
    assert limits.parse_set(text) == numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [("KILL", 9), ("SIGTERM", 15), ("sigint", 2), ("9", 9), ("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX", 64)],
)
def test_signals(text, number):
    assert signals.parse(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-9", "SIGBOGUS", "SIGSIGTERM", "9 "])
def test_bad_signals(text):
    with pytest.raises(InvalidRequest, match="invalid signal"):
        signals.parse(text)


@pytest.mark.parametrize("name", ["a", "-ab", "a b", "a/b", "é1", "a\n", "", "_ab"])
def test_bad_container_names(name):
    with pytest.raises(InvalidRequest) as error:
        names.check(name)
    assert str(error.value) == f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"


def test_good_container_names():
    assert names.check("/web_1.a-b") == "web_1.a-b"


def test_generated_names_are_free_and_valid():
    taken = set()
    for _ in range(200):
        name = names.generate(taken, names.new_id())
        assert names.check(name) == name and name not in taken
        taken.add(name)

    class Everything:
        def __contains__(self, name):
            return True

    assert names.generate(Everything(), "abcdef" * 11) == "abcdefabcdef"


def test_a_taken_name_is_dockers_conflict():
    error = names.in_use("web", "a1b2")
    assert isinstance(error, Conflict)
    assert str(error) == (
        'Conflict. The container name "/web" is already in use by container "a1b2". You have to remove (or rename) that'
        " container to be able to reuse that name."
    )


def test_ports_are_spelled_out():
    config = ContainerConfig(exposed_ports={"8000-8001": {}, "53/udp": {}})
    host = HostConfig(
        port_bindings={"80": [PortBinding(host_ip="127.0.0.1", host_port="8080"), PortBinding(host_port="90-95")]},
        publish_all_ports=True,
    )
    ports.normalise(config, host)
    assert config.exposed_ports.keys() == {"8000/tcp", "8001/tcp", "53/udp", "80/tcp"}
    found = {
        (entry.container_port, entry.protocol, entry.host_ip, entry.host_port, entry.host_port_end)
        for entry in ports.published(config, host)
    }
    assert found == {
        (8000, "tcp", "", 0, 0),
        (8001, "tcp", "", 0, 0),
        (53, "udp", "", 0, 0),
        (80, "tcp", "127.0.0.1", 8080, 0),
        (80, "tcp", "", 90, 95),
    }


def test_every_refusal_is_an_engine_error_with_a_client_status():
    for host, _ in REFUSED:
        with pytest.raises(EngineError) as error:
            check(**host)
        assert error.value.status == 400
