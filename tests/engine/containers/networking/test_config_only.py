"""Configuration networks through the docker CLI: what others are made from."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(autouse=True)
def _clean(engine):
    yield
    engine.remove_containers()
    engine.client.networks.prune()
    for network in engine.client.networks.list(filters={"type": "custom"}):
        network.remove()


def test_a_network_is_made_from_a_configuration(docker, engine, busybox):
    options = ("--subnet", "10.79.0.0/24", "-o", "com.docker.network.driver.mtu=1400", "--label", "a=b")
    docker("network", "create", "--config-only", *options, "shape")
    docker("network", "create", "--config-from", "shape", "back")
    shape, back = json.loads(docker("network", "inspect", "shape", "back").stdout)
    assert shape["ConfigOnly"] and shape["Driver"] == "null" and shape["IPAM"]["Config"] == [{"Subnet": "10.79.0.0/24"}]
    assert back["ConfigFrom"] == {"Network": "shape"} and not back["ConfigOnly"] and back["Labels"] == {"a": "b"}
    assert back["IPAM"]["Config"][0]["Subnet"] == "10.79.0.0/24"
    said = docker("run", "--rm", "--network", "back", "busybox", "sh", "-c", "cat /sys/class/net/eth0/mtu; ip -4 addr")
    assert said.stdout.startswith("1400\n") and "10.79.0.2/24" in said.stdout
    refused = docker("run", "--rm", "--network", "shape", "busybox", check=False)
    assert "cannot create endpoint on configuration-only network" in refused.stderr
    assert 'configuration network "shape" is in use' in docker("network", "rm", "shape", check=False).stderr
    engine.kill()
    engine.start()
    docker("network", "rm", "back")
    assert docker("network", "prune", "-f").stdout == ""
    docker("network", "rm", "shape")
