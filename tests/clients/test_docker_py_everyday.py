"""docker-py's own high-level objects, in the ways its documentation shows."""

from __future__ import annotations

import io
import tarfile
import threading

import docker
import pytest
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound
from docker.types import LogConfig, Mount, Ulimit

from support.engines import wait_for


def test_run_with_most_of_its_arguments(client: docker.DockerClient, busybox: str, tmp_path) -> None:
    (tmp_path / "file").write_text("shared")
    tmp_path.chmod(0o755)
    container = client.containers.run(
        busybox, ["sh", "-c", "cat /given/file; id; sleep 1000"],
        detach=True, name="many", hostname="many-host", domainname="lan", user="1000:1000", working_dir="/tmp",
        environment=["A=1"], labels=["plain"], entrypoint=None, tty=False, stdin_open=True,
        volumes={str(tmp_path): {"bind": "/given", "mode": "ro"}, "vol": {"bind": "/vol", "mode": "rw"}},
        mounts=[Mount("/m", None, type="tmpfs", tmpfs_size=1 << 20)], tmpfs={"/t": "size=1m"},
        ports={"80/tcp": ("127.0.0.1", None), "81/udp": None}, network_mode="bridge",
        mem_limit="64m", memswap_limit="128m", cpu_shares=512, cpuset_cpus="0", nano_cpus=500_000_000, pids_limit=64,
        cap_add=["NET_ADMIN"], cap_drop=["MKNOD"], security_opt=["no-new-privileges"], read_only=True,
        ulimits=[Ulimit(name="nofile", soft=256, hard=512)], sysctls={"net.ipv4.ip_default_ttl": "60"},
        shm_size="1m", group_add=["audio"], dns=["9.9.9.9"], dns_search=["lan"], extra_hosts={"one": "1.2.3.4"},
        log_config=LogConfig(type="json-file", config={"max-size": "1m", "max-file": "2"}),
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
        stop_signal="SIGINT", oom_score_adj=100, ipc_mode="private", auto_remove=False, publish_all_ports=False,
    )  # fmt: skip
    wait_for(lambda: b"uid=1000" in container.logs(), 10, "the output")
    assert container.logs().startswith(b"shared")
    container.reload()
    config, host = container.attrs["Config"], container.attrs["HostConfig"]
    assert (config["Hostname"], config["Domainname"], config["StopSignal"]) == ("many-host", "lan", "SIGINT")
    assert (config["Env"], config["Labels"], config["OpenStdin"]) == (["A=1"], {"plain": ""}, True)
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (64 << 20, 128 << 20, 500_000_000)
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 256, "Hard": 512}]
    assert host["ReadonlyRootfs"] and host["SecurityOpt"] == ["no-new-privileges"]
    assert set(container.ports) == {"80/tcp", "81/udp"}
    assert {mount["Destination"] for mount in container.attrs["Mounts"]} == {"/given", "/vol", "/m"}
    assert container.image.tags == [busybox]
    container.remove(force=True, v=True)
    client.volumes.get("vol").remove()


def test_lists_take_filters_and_come_as_objects(client: docker.DockerClient, busybox: str) -> None:
    made = [
        client.containers.run(busybox, "sleep 1000", detach=True, name=f"n{n}", labels={"n": str(n)}) for n in "abc"
    ]
    made[2].kill()
    assert [one.name for one in client.containers.list()] == ["nb", "na"]
    assert [one.name for one in client.containers.list(all=True, limit=1)] == ["nc"]
    assert [one.name for one in client.containers.list(all=True, filters={"before": "nc", "since": "na"})] == ["nb"]
    assert [one.name for one in client.containers.list(filters={"label": ["n=a"]})] == ["na"]
    assert [one.name for one in client.containers.list(filters={"status": "exited", "exited": 137})] == ["nc"]
    assert len(client.containers.list(all=True, sparse=True)) == 3
    assert client.containers.list(filters={"name": "nosuch"}) == []
    assert (made[0].short_id, made[0].status) == (made[0].id[:12], "created")
    assert client.containers.get(made[0].short_id).status == "running"
    for one in made:
        one.remove(force=True)


def test_logs_come_as_a_stream_of_lines(client: docker.DockerClient, busybox: str) -> None:
    container = client.containers.run(busybox, ["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done"], detach=True)
    assert [line.strip() for line in container.logs(stream=True)] == [b"1", b"2", b"3"]
    assert container.wait(timeout=10)["StatusCode"] == 0
    assert list(container.logs(stream=True)) == [b"1\n", b"2\n", b"3\n"]
    assert container.logs(tail=1) == b"3\n"
    assert container.logs(stdout=False) == b""
    assert b"Z 1\n" in container.logs(timestamps=True)
    container.remove()


def test_exec_in_every_form(client: docker.DockerClient, busybox: str) -> None:
    container = client.containers.run(busybox, "sleep 1000", detach=True)
    assert container.exec_run("id -u", user="1000") == (0, b"1000\n")
    assert container.exec_run("sh -c 'echo $X; pwd'", environment={"X": "y"}, workdir="/tmp") == (0, b"y\n/tmp\n")
    code, stream = container.exec_run(["sh", "-c", "echo a; echo b"], stream=True)
    assert (code, b"".join(stream)) == (None, b"a\nb\n")
    assert container.exec_run("echo t", tty=True) == (0, b"t\r\n")
    assert not container.exec_run("true", detach=True).output
    assert container.exec_run("nosuch").exit_code == 127
    made = client.api.exec_create(container.id, "sh -c 'exit 5'")
    client.api.exec_start(made)
    wait_for(lambda: client.api.exec_inspect(made)["ExitCode"] == 5, 5)
    container.remove(force=True)


def test_files_go_in_and_come_out(client: docker.DockerClient, busybox: str) -> None:
    container = client.containers.create(busybox, "true")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("note")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"hello"))
    assert container.put_archive("/tmp", archive.getvalue()) is True
    pieces, stat = container.get_archive("/tmp/note")
    assert (stat["name"], stat["size"], stat["linkTarget"]) == ("note", 5, "")
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        assert tar.extractfile("note").read() == b"hello"
    assert {"Path": "/tmp/note", "Kind": 1} in container.diff()
    image = container.commit("kept", "1", message="a note", changes='CMD ["cat", "/tmp/note"]')
    assert client.containers.run(image.id, remove=True) == b"hello"
    assert b"".join(container.export())[:100]
    container.remove()
    client.images.remove("kept:1")


def test_a_running_container_is_changed_and_measured(client: docker.DockerClient, busybox: str) -> None:
    container = client.containers.run(busybox, "sleep 1000", detach=True)
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    container.update(mem_limit="64m", memswap_limit="64m", cpu_shares=300)
    container.reload()
    assert container.attrs["HostConfig"]["Memory"] == 64 << 20
    assert container.stats(stream=False)["memory_stats"]["limit"] == 64 << 20
    own = client.networks.create("own", labels={"a": "b"})
    own.connect(container, aliases=["sleeper"])
    container.reload()
    assert "sleeper" in container.attrs["NetworkSettings"]["Networks"]["own"]["Aliases"]
    own.disconnect(container)
    own.remove()
    container.remove(force=True)
    assert client.containers.prune()["ContainersDeleted"] in (None, [])


def test_errors_are_docker_pys_own(client: docker.DockerClient, busybox: str) -> None:
    with pytest.raises(ImageNotFound):
        client.images.get("nosuch")
    with pytest.raises(APIError, match="connection refused"):  # it asks the registry, which the suite is without
        client.containers.run("nosuch:tag", "true")
    with pytest.raises(NotFound):
        client.containers.get("nosuch")
    with pytest.raises(NotFound):
        client.volumes.get("nosuch")
    with pytest.raises(NotFound):
        client.networks.get("nosuch")
    with pytest.raises(ContainerError, match="exit status 2"):
        client.containers.run(busybox, "sh -c 'exit 2'", remove=True)
    with pytest.raises(APIError, match=r"registry\.example"):
        client.login("me", "secret", registry="registry.example")
    with pytest.raises(APIError) as caught:
        client.containers.run(busybox, "nosuch", remove=True)
    assert caught.value.status_code in (400, 404)


def test_the_engine_as_a_whole(client: docker.DockerClient, busybox: str) -> None:
    assert client.ping() is True
    assert client.version()["ApiVersion"] == "1.51"
    assert client.info()["OSType"] == "linux"
    used = client.df()
    assert {"LayersSize", "Images", "Containers", "Volumes", "BuildCache"} <= used.keys()
    image = client.images.get(busybox)
    assert image.attrs["Os"] == "linux" and image.history() and image.labels == {}
    assert image.tag("other", "2") and client.images.get("other:2").id == image.id
    assert [one.id for one in client.images.list("other")] == [image.id]
    client.images.remove("other:2")
    volume = client.volumes.create("v1", labels={"k": "v"})
    assert client.volumes.list(filters={"label": "k=v"}) == [volume]
    volume.remove(force=True)
    assert client.networks.list(names=["bridge"])[0].attrs["Driver"] == "bridge"
    built, lines = client.images.build(fileobj=io.BytesIO(f"FROM {busybox}\nLABEL a=b".encode()), tag="built", rm=True)
    assert built.labels == {"a": "b"} and any("Successfully built" in line.get("stream", "") for line in lines)
    client.images.remove("built")


def test_events_are_an_iterator(client: docker.DockerClient, busybox: str) -> None:
    events = client.events(decode=True, filters={"type": "container", "event": ["start", "die"]})
    seen: list[str] = []

    def read() -> None:
        seen.extend(event["Action"] for _, event in zip(range(2), events, strict=False))

    reader = threading.Thread(target=read)
    reader.start()
    client.containers.run(busybox, "true", remove=True)
    reader.join(10)
    events.close()
    assert seen == ["start", "die"]


@pytest.mark.parametrize("version", ["1.24", "1.30", "1.41", "1.44", "1.51"])
def test_a_client_of_any_version_runs_a_container(
    docker_host: str, busybox: str, version: str, client: docker.DockerClient
) -> None:
    old = docker.DockerClient(base_url=docker_host, version=version)
    assert old.containers.run(busybox, "echo works", remove=True) == b"works\n"
    assert old.images.get(busybox).attrs["Size"] == client.images.get(busybox).attrs["Size"]
    old.close()


def test_an_attached_socket_talks_both_ways(client: docker.DockerClient, busybox: str) -> None:
    container = client.containers.create(busybox, "cat", stdin_open=True, tty=True)
    socket = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    socket._sock.sendall(b"hello\n")
    received = b""
    while received.count(b"hello") < 2:
        received += socket._sock.recv(100)
    socket.close()
    container.resize(40, 120)
    container.remove(force=True)
