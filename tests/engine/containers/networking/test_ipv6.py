"""Networks with IPv6, through the docker CLI and real containers."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(autouse=True)
def _clean(engine):
    yield
    engine.remove_containers()
    engine.client.networks.prune()


def inside(docker, name, script):
    return docker("exec", name, "sh", "-c", script).stdout


def test_a_pair_has_addresses_names_and_ports_of_both_kinds(docker, client, busybox):
    docker("network", "create", "--ipv6", "--subnet", "fd00:77::/64", "six")
    docker(
        "run", "-d", "--name", "db", "--network", "six", "--ip6", "fd00:77::9", "-p", "80", "busybox", "sleep", "600"
    )
    docker("run", "-d", "--name", "web", "--network", "six", "busybox", "sleep", "600")
    shown = client.api.inspect_container("db")["NetworkSettings"]
    endpoint = shown["Networks"]["six"]
    assert endpoint["GlobalIPv6Address"] == "fd00:77::9" and endpoint["GlobalIPv6PrefixLen"] == 64
    assert endpoint["IPv6Gateway"] == "fd00:77::1" and endpoint["IPAMConfig"] == {"IPv6Address": "fd00:77::9"}
    assert [binding["HostIp"] for binding in shown["Ports"]["80/tcp"]] == ["0.0.0.0", "::"]
    ports = docker("ps", "--filter", "name=db", "--format", "{{.Ports}}").stdout
    number = shown["Ports"]["80/tcp"][0]["HostPort"]
    assert ports == f"0.0.0.0:{number}->80/tcp, [::]:{number}->80/tcp\n"
    assert docker("port", "db").stdout == f"80/tcp -> 0.0.0.0:{number}\n80/tcp -> [::]:{number}\n"
    assert "1 packets received" in inside(docker, "web", "ping -6 -c1 -w5 db")
    assert "fd00:77::9\t" in inside(docker, "db", "cat /etc/hosts")
    answer = inside(docker, "web", "nslookup -type=aaaa db; nslookup fd00:77::9")
    assert "fd00:77::9" in answer and "name = db.six" in answer
    network = json.loads(docker("network", "inspect", "six").stdout)[0]
    assert network["EnableIPv6"] and network["IPAM"]["Config"][1] == {"Subnet": "fd00:77::/64", "Gateway": "fd00:77::1"}
    assert "fd00:77::9/64" in {member["IPv6Address"] for member in network["Containers"].values()}


def test_a_killed_service_leaves_ipv6_as_it_was(docker, client, engine, busybox):
    docker("network", "create", "--ipv6", "six")
    docker("run", "-d", "--name", "db", "--network", "six", "-p", "80", "busybox", "sleep", "600")
    before = client.api.inspect_container("db")["NetworkSettings"]["Networks"]["six"]
    engine.kill()
    engine.start()
    docker("run", "-d", "--name", "web", "--network", "six", "busybox", "sleep", "600")
    after = engine.client.api.inspect_container("db")["NetworkSettings"]["Networks"]["six"]
    assert after["GlobalIPv6Address"] == before["GlobalIPv6Address"]
    web = engine.client.api.inspect_container("web")["NetworkSettings"]["Networks"]["six"]
    assert web["GlobalIPv6Address"] != before["GlobalIPv6Address"]
    assert "1 packets received" in inside(docker, "web", "ping -6 -c1 -w5 db")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("network", "create", "--ipv6", "--subnet", "fd00:77::1/64", "x"),
            "invalid subnet fd00:77::1/64: it should be",
        ),
        (
            ("network", "create", "--ipv6", "--subnet", "fd00:77::/64", "--gateway", "10.0.0.1", "x"),
            "no matching subnet for gateway 10.0.0.1",
        ),
        (("run", "--network", "four", "--ip6", "fd00:77::9", "busybox"), "no configured subnet contains IP address"),
        (("run", "--ip6", "fd00:77::9", "busybox"), "supported on user defined networks only"),
    ],
)
def test_errors_are_docker_s(docker, busybox, arguments, words):
    docker("network", "create", "four")
    failed = docker(*arguments, check=False)
    assert failed.returncode and words in failed.stderr, failed.stderr
