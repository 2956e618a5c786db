"""Docker's JSON, read and written as Go does."""

from __future__ import annotations

import pytest

from dosirak.engine.containers import wire
from dosirak.engine.containers.documents import (
    ContainerConfig,
    CreateRequest,
    EndpointSettings,
    HostConfig,
    Mount,
    MountPoint,
)
from dosirak.engine.errors import InvalidRequest


def test_null_is_the_same_as_absent_even_deep_inside():
    body, unknown = wire.parse(
        CreateRequest,
        {
            "Image": "busybox",
            "Hostname": None,
            "Env": None,
            "HostConfig": {"NetworkMode": None, "LogConfig": None, "RestartPolicy": {"Name": None}, "Memory": None},
            "NetworkingConfig": None,
        },
    )
    assert unknown == []
    assert body.hostname == "" and body.env is None
    assert body.host_config.network_mode == "" and body.host_config.restart_policy.name == ""
    assert body.networking_config.endpoints_config is None


def test_null_in_a_map_keeps_the_key():
    body, _ = wire.parse(
        CreateRequest,
        {
            "ExposedPorts": {"80/tcp": None},
            "HostConfig": {"PortBindings": {"80/tcp": None, "81/tcp": [{"HostPort": "8081"}]}},
            "NetworkingConfig": {"EndpointsConfig": {"default": None}},
        },
    )
    assert body.exposed_ports == {"80/tcp": None}
    assert body.host_config.port_bindings["80/tcp"] is None
    assert body.host_config.port_bindings["81/tcp"][0].host_port == "8081"
    assert body.networking_config.endpoints_config == {"default": None}


def test_a_string_may_stand_for_a_list_of_one():
    body, _ = wire.parse(CreateRequest, {"Cmd": "true", "Entrypoint": "sh", "HostConfig": {"CapAdd": "ALL"}})
    assert body.cmd == ["true"] and body.entrypoint == ["sh"] and body.host_config.cap_add == ["ALL"]


def test_a_name_s_case_does_not_matter():
    body, unknown = wire.parse(CreateRequest, {"image": "x", "hostconfig": {"MEMORY": 7, "dns": ["1.1.1.1"]}})
    assert (body.image, body.host_config.memory, body.host_config.dns, unknown) == ("x", 7, ["1.1.1.1"], [])


def test_unknown_fields_are_told_unless_empty():
    _, unknown = wire.parse(
        CreateRequest,
        {
            "Bogus": 1,
            "Nothing": None,
            "Zero": 0,
            "HostConfig": {"Odd": "x", "Empty": [], "Mounts": [{"Type": "bind", "New": True}]},
            "NetworkingConfig": {"EndpointsConfig": {"net": {"Strange": "y"}}},
        },
    )
    assert unknown == [
        "Bogus",
        "HostConfig.Odd",
        "HostConfig.Mounts.New",
        "NetworkingConfig.EndpointsConfig.net.Strange",
    ]


@pytest.mark.parametrize(
    "document",
    [{"Image": 5}, {"Env": "A=1"}, {"Env": [1]}, {"HostConfig": []}, {"HostConfig": {"Memory": "1g"}}, {"Tty": "yes"}],
)
def test_wrong_types_are_refused(document):
    with pytest.raises(InvalidRequest, match="invalid JSON"):
        wire.parse(CreateRequest, document)


def test_a_document_is_not_an_array():
    with pytest.raises(InvalidRequest):
        wire.parse(CreateRequest, [])


def test_empty_optional_fields_are_left_out_as_docker_does():
    config = wire.dump(ContainerConfig(image="x", stop_timeout=0))
    assert "Healthcheck" not in config and "StopSignal" not in config and "Shell" not in config
    assert config["StopTimeout"] == 0
    assert config["Cmd"] is None and config["Tty"] is False and config["Image"] == "x"
    host = wire.dump(HostConfig(init=False))
    assert host["Init"] is False
    assert "Tmpfs" not in host and "Sysctls" not in host
    assert host["Binds"] is None and host["Memory"] == 0 and host["ConsoleSize"] == [0, 0]
    assert host["UTSMode"] == "" and host["BlkioDeviceReadIOps"] is None and host["IOMaximumIOps"] == 0


def test_a_field_is_left_out_only_of_its_own_document():
    assert "MacAddress" not in wire.dump(ContainerConfig())
    assert wire.dump(EndpointSettings())["MacAddress"] == ""
    assert wire.dump(Mount(type="tmpfs", target="/t")) == {"Type": "tmpfs", "Target": "/t"}


def test_a_mount_point_shows_its_empty_propagation():
    assert wire.dump(MountPoint(type="volume"))["Propagation"] == ""


def test_what_is_read_is_written_again():
    document = {"Memory": 5, "Mounts": [{"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True}]}
    host, _ = wire.parse(HostConfig, document)
    shown = wire.dump(host)
    assert shown["Memory"] == 5
    assert shown["Mounts"] == document["Mounts"]
