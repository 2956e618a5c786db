"""Networks of one's own and `--link`, through the real docker CLI and docker-py, with real containers."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.engines import wait_for


@pytest.fixture(autouse=True)
def _clean(engine):
    yield
    engine.remove_containers()
    engine.client.networks.prune()


def run(docker, name, *flags, command=("sleep", "600")):
    docker("run", "-d", "--name", name, *flags, "busybox", *command)


def inside(docker, name, script):
    return docker("exec", name, "sh", "-c", script).stdout


def test_a_pair_finds_each_other_by_name(docker, busybox):
    docker("network", "create", "back")
    run(docker, "db", "--network", "back", "--network-alias", "store", "--hostname", "dbhost")
    run(docker, "web", "--network", "back", "--link", "db:mysql")
    for name in ("db", "store", "mysql", "db.back", "dbhost"):
        assert "1 packets received" in inside(docker, "web", f"ping -c1 -w5 {name}")
    text = inside(docker, "web", "cat /etc/resolv.conf")
    assert "nameserver 127.0.0.11\n" in text and "options ndots:0\n" in text
    docker("restart", "-t", "0", "db")
    assert "1 packets received" in inside(docker, "web", "ping -c1 -w5 mysql")


def test_inspect_shows_what_is(docker, client, busybox):
    client.networks.create("back", ipam=_pool("10.78.0.0/24"))
    run(docker, "web", "--network", "back", "--ip", "10.78.0.9", "--network-alias", "www", "-p", "8000")
    settings = client.api.inspect_container("web")["NetworkSettings"]
    network = client.networks.get("back")
    endpoint = settings["Networks"]["back"]
    assert endpoint["IPAddress"] == "10.78.0.9" and endpoint["IPPrefixLen"] == 24
    assert endpoint["Gateway"] == "10.78.0.1" and endpoint["NetworkID"] == network.id
    assert endpoint["Aliases"] == ["www"] and endpoint["IPAMConfig"] == {"IPv4Address": "10.78.0.9"}
    assert endpoint["DNSNames"][:2] == ["web", "www"] and len(endpoint["DNSNames"][2]) == 12
    network.reload()
    (member,) = network.attrs["Containers"].values()
    assert member["Name"] == "web" and member["IPv4Address"] == "10.78.0.9/24"
    assert member["EndpointID"] == endpoint["EndpointID"] and member["MacAddress"] == endpoint["MacAddress"]
    docker("stop", "-t", "0", "web")
    stopped = client.api.inspect_container("web")["NetworkSettings"]["Networks"]["back"]
    assert stopped["IPAddress"] == stopped["Gateway"] == stopped["EndpointID"] == ""
    docker("start", "web")
    assert client.api.inspect_container("web")["NetworkSettings"]["Networks"]["back"]["IPAddress"] == "10.78.0.9"


def _pool(subnet):
    import docker.types

    return docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=subnet)])


def test_a_running_container_gets_and_loses_networks(docker, client, busybox):
    docker("network", "create", "back")
    run(docker, "db", "--network", "back")
    run(docker, "web")
    since = time.time()
    docker("network", "connect", "--alias", "www", "back", "web")
    assert "1 packets received" in inside(docker, "web", "ping -c1 -w5 db")
    assert "1 packets received" in inside(docker, "db", "ping -c1 -w5 www")
    hosts = inside(docker, "web", "cat /etc/hosts")
    address = client.api.inspect_container("web")["NetworkSettings"]["Networks"]["back"]["IPAddress"]
    assert f"{address}\t" in hosts and "nameserver 127.0.0.11" in inside(docker, "web", "cat /etc/resolv.conf")
    docker("network", "disconnect", "back", "web")
    assert f"{address}\t" not in inside(docker, "web", "cat /etc/hosts")
    assert "eth1" not in inside(docker, "web", "ip link")
    found = list(client.api.events(since=since, until=time.time() + 0.1, decode=True, filters={"type": "network"}))
    assert [event["Action"] for event in found] == ["connect", "disconnect"]
    assert found[0]["Actor"]["Attributes"]["name"] == "back" and found[0]["Actor"]["Attributes"]["type"] == "bridge"


def test_what_somebody_wrote_into_hosts_stays(docker, busybox):
    docker("network", "create", "back")
    run(docker, "web")
    inside(docker, "web", "echo '192.0.2.1 mine' >>/etc/hosts; echo 'nameserver 192.0.2.53' >/etc/resolv.conf")
    docker("network", "connect", "back", "web")
    docker("network", "disconnect", "back", "web")
    assert "192.0.2.1 mine\n" in inside(docker, "web", "cat /etc/hosts")
    assert inside(docker, "web", "cat /etc/resolv.conf") == "nameserver 192.0.2.53\n"


def test_a_stopped_container_is_connected_at_its_start(docker, client, busybox):
    docker("network", "create", "back")
    docker("create", "--name", "web", "busybox", "sleep", "600")
    docker("network", "connect", "back", "web")
    docker("network", "disconnect", "bridge", "web")
    docker("start", "web")
    assert list(client.api.inspect_container("web")["NetworkSettings"]["Networks"]) == ["back"]
    docker("stop", "-t", "0", "web")
    docker("network", "rm", "back")
    failed = docker("start", "web", check=False)
    assert "failed to set up container networking: network" in failed.stderr and "not found" in failed.stderr


def test_several_networks_at_once(docker, client, busybox):
    for name in ("front", "back"):
        docker("network", "create", name)
    docker(
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "front",
        "--network",
        "name=back,alias=www,driver-opt=a=b",
        "busybox",
        "sleep",
        "9",
    )
    found = client.api.inspect_container("web")["NetworkSettings"]["Networks"]
    assert found["back"]["Aliases"] == ["www"] and found["front"]["IPAddress"]
    assert found["back"]["DriverOpts"] == {"a": "b"}
    assert "eth1" in inside(docker, "web", "ip link")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("network", "connect", "nowhere", "web"), "network nowhere not found"),
        (("network", "connect", "back", "nobody"), "No such container: nobody"),
        (("network", "connect", "back", "web"), "endpoint with name web already exists in network back"),
        (("network", "connect", "host", "web"), "cannot connect container to host network"),
        (("network", "connect", "none", "web"), "one of the networks in private (none) mode"),
        (
            ("network", "connect", "--ip", "10.9.9.9", "other", "web"),
            "no configured subnet contains IP address 10.9.9.9",
        ),
        (("network", "disconnect", "other", "web"), "is not connected to network other"),
        (("network", "disconnect", "nowhere", "web"), "network nowhere not found"),
        (("network", "rm", "back"), "network back has active endpoints"),
        (("network", "rm", "bridge"), "bridge is a pre-defined network and cannot be removed"),
        (("network", "create", "back"), "network with name back already exists"),
        (("run", "--network", "back", "--ip", "1.2.3.4", "busybox"), "invalid config for network back"),
        (("run", "--network", "nowhere", "busybox"), "network nowhere not found"),
        (("run", "--link", "nobody:x", "busybox"), "could not get container for nobody: No such container: nobody"),
        (("run", "--network", "host", "--link", "web:x", "busybox"), "host type networking can't be used with links"),
    ],
)
def test_errors_are_docker_s(docker, busybox, arguments, words):
    docker("network", "create", "back")
    docker("network", "create", "other")
    run(docker, "web", "--network", "back")
    failed = docker(*arguments, check=False)
    assert failed.returncode and words in failed.stderr, failed.stderr


def test_a_link_is_a_line_of_hosts_and_the_old_variables(docker, client, busybox):
    run(docker, "db", "--expose", "3306", "--expose", "3307", "-e", "MYSQL_DATABASE=wp")
    run(docker, "wp", "--link", "db:my-sql")
    address = client.api.inspect_container("db")["NetworkSettings"]["IPAddress"]
    variables = dict(line.partition("=")[::2] for line in inside(docker, "wp", "env").splitlines())
    expected = {
        "MY_SQL_PORT": f"tcp://{address}:3306",
        "MY_SQL_PORT_3306_TCP": f"tcp://{address}:3306",
        "MY_SQL_PORT_3306_TCP_ADDR": address,
        "MY_SQL_PORT_3307_TCP_PORT": "3307",
        "MY_SQL_PORT_3306_TCP_PROTO": "tcp",
        "MY_SQL_PORT_3306_TCP_START": f"tcp://{address}:3306",
        "MY_SQL_PORT_3306_TCP_PORT_END": "3307",
        "MY_SQL_NAME": "/wp/my-sql",
        "MY_SQL_ENV_MYSQL_DATABASE": "wp",
    }
    assert expected.items() <= variables.items()
    assert "1 packets received" in inside(docker, "wp", "ping -c1 -w5 my-sql")
    assert client.api.inspect_container("wp")["HostConfig"]["Links"] == ["/db:/wp/my-sql"]


def test_a_link_is_a_name_too_until_it_is_removed(docker, client, engine, busybox):
    run(docker, "db")
    run(docker, "wp", "--link", "db:sql", "--link", "db")
    assert docker("ps", "--filter", "name=^/db$", "--format", "{{.Names}}").stdout == "db\n"
    assert docker("ps", "--no-trunc", "--format", "{{.Names}}").stdout == "wp\ndb,wp/db,wp/sql\n"
    for options, listed in (((), "db"), (("--no-trunc",), "db,wp/db,wp/sql")):
        words = [Path(sys.executable).with_name("dosirak"), "ps", *options, "--format", "{{.Names}}"]
        shown = subprocess.run(words, env=engine.environment(), capture_output=True, text=True, check=True)
        assert shown.stdout == f"wp\n{listed}\n"
    assert docker("inspect", "-f", "{{.Name}}", "wp/sql").stdout == "/db\n"
    refused = docker("rm", "--link", "db", check=False)
    assert "Conflict, cannot remove the default link name of the container" in refused.stderr
    assert docker("rm", "--link", "/wp/sql").stdout == "/wp/sql\n"
    hosts = inside(docker, "wp", "cat /etc/hosts")
    assert "\tsql" not in hosts and "\tdb " in hosts
    assert client.api.inspect_container("wp")["HostConfig"]["Links"] == ["/db:/wp/db"]
    assert "No such container: wp/sql" in docker("rm", "--link", "wp/sql", check=False).stderr
    assert docker("ps", "--no-trunc", "--format", "{{.Names}}").stdout == "wp\ndb,wp/db\n"
    docker("restart", "-t", "0", "wp")
    assert "\tsql" not in inside(docker, "wp", "cat /etc/hosts")


def test_a_link_follows_to_a_new_address(docker, client, busybox):
    run(docker, "db")
    run(docker, "wp", "--link", "db")
    docker("stop", "-t", "0", "db")
    run(docker, "thief")
    docker("start", "db")
    address = client.api.inspect_container("db")["NetworkSettings"]["IPAddress"]
    assert f"{address}\tdb " in inside(docker, "wp", "cat /etc/hosts")
    docker("stop", "-t", "0", "wp", "db")
    failed = docker("start", "wp", check=False)
    assert "Cannot link to a non running container: /db AS /wp/db" in failed.stderr
    docker("rm", "db")
    docker("start", "wp")


def test_names_survive_a_killed_service(docker, engine, busybox):
    docker("network", "create", "back")
    run(docker, "db", "--network", "back")
    script = "while true; do nslookup db >/dev/null 2>&1 && echo ok || echo lost; done"
    run(docker, "web", "--network", "back", command=("sh", "-c", script))
    wait_for(lambda: "ok" in docker("logs", "web").stdout)
    engine.kill()
    engine.start()
    docker("exec", "web", "true")
    assert "lost" not in docker("logs", "web").stdout
    assert engine.client.networks.get("back").attrs["Containers"]
