"""docker-py on our socket: the client of the magics, and of many programs."""

from __future__ import annotations

import io
import socket
import tarfile
import threading
import time
from collections.abc import Callable

import docker
import pytest
from docker.errors import APIError, BuildError, ContainerError, ImageNotFound, NotFound


def test_run_returns_output_and_raises_with_the_status(client: docker.DockerClient, busybox: str) -> None:
    assert client.containers.run(busybox, "echo hello", remove=True) == b"hello\n"
    with pytest.raises(ContainerError) as caught:
        client.containers.run(busybox, ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    assert (caught.value.exit_status, caught.value.stderr) == (3, b"bad\n")


def test_a_container_from_create_to_remove(client: docker.DockerClient, busybox: str) -> None:
    container = client.containers.create(
        busybox,
        ["sh", "-c", "echo $GREETING; cat /proc/self/cgroup > /dev/null; sleep 100"],
        name="py",
        environment={"GREETING": "hi"},
        labels={"a": "b"},
        hostname="inside",
        mem_limit="64m",
    )
    assert container.status == "created"
    container.start()
    container.reload()
    assert container.status == "running"
    assert container.attrs["Config"]["Hostname"] == "inside"
    assert container.attrs["HostConfig"]["Memory"] == 64 << 20
    assert container.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert container.attrs["State"]["StartedAt"].startswith("20")
    assert container.attrs["State"]["FinishedAt"] == "0001-01-01T00:00:00Z"
    assert [found.id for found in client.containers.list(filters={"label": "a=b"})] == [container.id]
    assert client.containers.list(filters={"label": "a=c"}) == []
    assert container.logs() == b"hi\n"
    assert container.top()["Titles"][1] == "PID"
    container.rename("py2")
    assert client.containers.get("py2").id == container.id
    container.stop(timeout=0)
    assert container.wait() == {"StatusCode": 137}
    container.remove()
    with pytest.raises(NotFound, match="No such container: py2"):
        client.containers.get("py2")


def test_exec_gives_code_output_and_both_streams(client: docker.DockerClient, busybox: str) -> None:
    container = client.containers.run(busybox, "sleep 100", detach=True)
    assert container.exec_run("echo one") == (0, b"one\n")
    code, (out, err) = container.exec_run(["sh", "-c", "echo o; echo e >&2; exit 5"], demux=True)
    assert (code, out, err) == (5, b"o\n", b"e\n")
    code, stream = container.exec_run(["sh", "-c", "echo 1; sleep 0.1; echo 2"], stream=True)
    assert b"".join(stream) == b"1\n2\n"
    assert container.exec_run("nosuch")[0] == 127
    assert container.exec_run("tty", tty=True)[1].startswith(b"/dev/pts/")


def test_an_exec_socket_takes_input_and_its_end(client: docker.DockerClient, busybox: str) -> None:
    container = client.containers.run(busybox, "sleep 100", detach=True)
    ident = client.api.exec_create(container.id, ["sh", "-c", "wc -c; echo end"], stdin=True)["Id"]
    stream = client.api.exec_start(ident, socket=True, tty=True)
    raw: socket.socket = stream._sock
    raw.sendall(b"123456789")
    raw.shutdown(socket.SHUT_WR)
    received = b""
    raw.settimeout(10)
    while part := raw.recv(1000):
        received += part
    stream.close()
    assert b"9\n" in received
    assert received.endswith(b"end\n")
    assert client.api.exec_inspect(ident)["ExitCode"] == 0


def test_attach_before_start_misses_nothing(client: docker.DockerClient, busybox: str) -> None:
    container = client.containers.create(busybox, ["sh", "-c", "echo first; echo second"])
    output = container.attach(stream=True, stdout=True, stderr=True, logs=False)
    container.start()
    assert b"".join(output) == b"first\nsecond\n"


def test_attach_with_logs_shows_what_was_said_before(client: docker.DockerClient, busybox: str) -> None:
    container = client.containers.run(busybox, ["sh", "-c", "echo early; sleep 100"], detach=True)
    time.sleep(0.3)
    assert container.attach(stdout=True, logs=True, stream=False) == b"early\n"


def test_logs_stream_while_it_runs(client: docker.DockerClient, busybox: str) -> None:
    container = client.containers.run(busybox, ["sh", "-c", "echo 1; sleep 0.5; echo 2"], detach=True)
    began = time.monotonic()
    lines = container.logs(stream=True, follow=True)
    assert next(lines) == b"1\n"
    assert time.monotonic() - began < 0.45
    assert next(lines) == b"2\n"
    with pytest.raises(StopIteration):
        next(lines)


def test_brief_containers_whose_log_is_followed_keep_their_status(client: docker.DockerClient, busybox: str) -> None:
    """The monitor leaves while a question about the log is on its way to it: what it said before must not be lost."""
    for _ in range(60):
        assert client.containers.run(busybox, "echo said", remove=True) == b"said\n"


def test_wait_for_conditions(client: docker.DockerClient, busybox: str) -> None:
    container = client.containers.create(busybox, ["sh", "-c", "exit 9"])
    results: dict[str, int] = {}

    def wait(condition: str) -> None:
        results[condition] = container.wait(condition=condition)["StatusCode"]

    threads = [threading.Thread(target=wait, args=(condition,)) for condition in ("next-exit", "removed")]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    container.start()
    threads[0].join(10)
    assert results == {"next-exit": 9}
    assert container.wait()["StatusCode"] == 9  # not-running: at once
    container.remove()
    threads[1].join(10)
    assert results["removed"] == 9
    with pytest.raises(APIError, match="invalid condition"):
        client.containers.create(busybox).wait(condition="sometime")


def test_starting_twice_and_stopping_twice_is_not_modified(client: docker.DockerClient, busybox: str) -> None:
    container = client.containers.run(busybox, "sleep 100", detach=True)
    url = client.api._url("/containers/{0}/start", container.id)
    assert client.api._post(url).status_code == 304
    container.stop(timeout=0)
    url = client.api._url("/containers/{0}/stop", container.id)
    assert client.api._post(url).status_code == 304


def test_events_stream_and_end(client: docker.DockerClient, busybox: str) -> None:
    events = client.events(decode=True, filters={"type": "container", "event": ["create", "die"]})
    container = client.containers.run(busybox, ["sh", "-c", "exit 2"], detach=True)
    created, died = next(events), next(events)
    events.close()
    assert (created["Action"], created["status"], created["id"]) == ("create", "create", container.id)
    assert died["Actor"]["Attributes"]["exitCode"] == "2"
    assert created["timeNano"] < died["timeNano"]


def test_build_from_a_file_object(client: docker.DockerClient, busybox: str) -> None:
    image, messages = client.images.build(
        fileobj=io.BytesIO(f"FROM {busybox}\nLABEL a=b\nRUN echo building\n".encode()), tag="py:1", rm=True
    )
    assert "py:1" in image.tags
    assert image.labels == {"a": "b"}
    assert "building\n" in [message.get("stream") for message in messages]
    client.images.remove("py:1")
    with pytest.raises(BuildError, match="non-zero code: 4"):
        client.images.build(fileobj=io.BytesIO(f"FROM {busybox}\nRUN exit 4\n".encode()))


def test_images_are_objects(client: docker.DockerClient, busybox: str) -> None:
    image = client.images.get(busybox)
    assert busybox in image.tags
    assert image.tag("renamed", "9") is True
    assert any("renamed:9" in found.tags for found in client.images.list())
    assert client.images.list("renamed")[0].id == image.id
    client.images.remove("renamed:9")
    with pytest.raises(ImageNotFound, match="No such image: renamed:9"):
        client.images.get("renamed:9")


def test_import_and_load(client: docker.DockerClient, busybox: str) -> None:
    archive = b"".join(client.images.get(busybox).save(named=True))
    loaded = client.images.load(archive)
    assert [image.id for image in loaded] == [client.images.get(busybox).id]
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as made:
        info = tarfile.TarInfo("file")
        info.size = 5
        made.addfile(info, io.BytesIO(b"hello"))
    client.api.import_image_from_data(tar.getvalue(), repository="imported", tag="1", changes=["LABEL x=y"])
    assert client.images.get("imported:1").labels == {"x": "y"}
    client.images.remove("imported:1")


def test_networks_and_volumes(client: docker.DockerClient, busybox: str) -> None:
    assert {"bridge", "host", "none"} <= {network.name for network in client.networks.list()}
    container = client.containers.run(busybox, "sleep 100", detach=True)
    attached = client.networks.get("bridge").attrs["Containers"]
    assert attached[container.id]["IPv4Address"].count("/") == 1
    volume = client.volumes.create("pyvolume", labels={"l": "1"})
    client.containers.run(
        busybox, "touch /data/file", volumes={"pyvolume": {"bind": "/data", "mode": "rw"}}, remove=True
    )
    listed = client.containers.run(busybox, "ls /data", volumes=["pyvolume:/data"], remove=True)
    assert listed == b"file\n"
    volume.remove()


@pytest.mark.parametrize("version", ["1.24", "1.35", "1.41", "1.44"])
def test_older_clients_are_answered_in_their_version(
    docker_host: str, busybox: str, version: str, client: docker.DockerClient
) -> None:
    older = docker.DockerClient(base_url=docker_host, version=version)
    container = older.containers.run(busybox, ["sh", "-c", "echo x; exec sleep 100"], detach=True)
    assert older.containers.list()[0].id == container.id
    assert ("VirtualSize" in older.images.get(busybox).attrs) == (version < "1.44")
    assert container.exec_run("echo y") == (0, b"y\n")
    container.remove(force=True)
    older.close()


def test_a_vanishing_client_leaves_the_service_well(
    client: docker.DockerClient, docker_host: str, busybox: str, docker: Callable[..., object]
) -> None:
    container = client.containers.run(busybox, ["sh", "-c", "while :; do echo x; sleep 0.01; done"], detach=True)
    for _ in range(5):
        stream = client.api.attach_socket(container.id, {"stdout": 1, "stream": 1})
        stream.close()
    container.reload()
    assert container.status == "running"
    assert container.logs(tail=1) == b"x\n"
