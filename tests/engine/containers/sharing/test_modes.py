"""What can be asked for of namespaces, and what together: Docker's words."""

from __future__ import annotations

import pytest

from dosirak.engine.containers.documents import ContainerConfig, HostConfig
from dosirak.engine.containers.sharing import modes
from dosirak.engine.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", modes.UserMode()),
        ("host", modes.UserMode()),
        ("auto", modes.UserMode("auto", 65536)),
        ("auto:size=1000", modes.UserMode("auto", 1000)),
        ("keep-id", modes.UserMode("keep-id")),
        ("container:web", modes.UserMode("container", other="web")),
    ],
)
def test_user_modes_are_read(text: str, mode: modes.UserMode) -> None:
    assert modes.user_mode(text) == mode
    assert mode.own is (text not in ("", "host"))


@pytest.mark.parametrize(
    "text", ["odd", "container:", "auto:", "auto:size=0", "auto:size=x", "auto:size=999999999", "keep-id:uid=5"]
)
def test_an_unknown_user_mode_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="invalid USER mode: "):
        modes.user_mode(text)


@pytest.mark.parametrize(
    ("field", "mode", "words"),
    [
        ("ipc_mode", "odd", "invalid IPC mode: odd"),
        ("ipc_mode", "container:", "invalid IPC mode: container:"),
        ("pid_mode", "private", "invalid PID mode: private"),
        ("uts_mode", "container:x", "invalid UTS mode: container:x"),
        ("cgroupns_mode", "container:x", "invalid cgroup namespace mode: container:x"),
    ],
)
def test_an_unknown_mode_is_refused(field: str, mode: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        modes.check(ContainerConfig(), HostConfig(**{field: mode}))


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"privileged": True}, "privileged mode is incompatible with user namespaces"),
        ({"network_mode": "host"}, "cannot share the host's network namespace when user namespaces are enabled"),
        ({"pid_mode": "host"}, "cannot share the host PID namespace when user namespaces are enabled"),
        ({"ipc_mode": "host"}, "cannot share the host IPC namespace when user namespaces are enabled"),
    ],
)
def test_a_user_namespace_and_what_is_the_hosts_do_not_go_together(host: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        modes.check(ContainerConfig(), HostConfig(**host, userns_mode="auto"))
    modes.check(ContainerConfig(), HostConfig(**host, userns_mode="host"))


def test_an_annotation_says_what_dockers_client_can_not() -> None:
    host = HostConfig(annotations={"dosirak.userns": "auto"})
    modes.check(ContainerConfig(), host)
    assert host.userns_mode == "auto"
    host = HostConfig(annotations={"dosirak.userns": "auto"}, userns_mode="host")
    modes.check(ContainerConfig(), host)
    assert host.userns_mode == "host"


@pytest.mark.parametrize(
    ("config", "host", "words"),
    [
        ({"hostname": "x"}, {}, "conflicting options: hostname and the network mode"),
        ({"mac_address": "02:42:ac:11:00:02"}, {}, "conflicting options: mac-address and the network mode"),
        ({"exposed_ports": {"80/tcp": {}}}, {}, "port exposing and the container type network mode"),
        ({}, {"publish_all_ports": True}, "port publishing and the container type network mode"),
        ({}, {"dns": ["1.1.1.1"]}, "conflicting options: dns and the network mode"),
        ({}, {"extra_hosts": ["a:1.1.1.1"]}, "conflicting options: custom host-to-IP mapping and the network mode"),
    ],
)
def test_anothers_network_brings_its_own_names_and_ports(
    config: dict[str, object], host: dict[str, object], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        modes.check_network(ContainerConfig(**config), HostConfig(**host, network_mode="container:web"))
    modes.check_network(ContainerConfig(**config), HostConfig(**host, network_mode="bridge"))


@pytest.mark.parametrize("mode", ["container", "container:"])
def test_a_container_to_join_must_have_a_name(mode: str) -> None:
    with pytest.raises(InvalidRequest, match=r"invalid container format container:<name\|id>"):
        modes.check_network(ContainerConfig(), HostConfig(network_mode=mode))


def test_the_hosts_name_can_not_be_set() -> None:
    with pytest.raises(InvalidRequest, match="conflicting options: hostname and the UTS mode"):
        modes.check(ContainerConfig(hostname="x"), HostConfig(uts_mode="host"))
