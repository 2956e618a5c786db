"""testcontainers from PyPI, as a program's own test suite uses it; its reaper, an image of its own, is off."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest

from support.engines import Engine, wait_for

testcontainers = pytest.importorskip("testcontainers")


@pytest.fixture
def container_class(engine: Engine, busybox: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[type]:
    """DockerContainer, on this engine."""
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)
    for name, value in engine.environment().items():
        if name.startswith("DOCKER"):
            monkeypatch.setenv(name, value)
    yield DockerContainer


SERVER = "sh -c 'echo Ready; mkdir /w; echo hi > /w/index.html; exec httpd -f -p 8000 -h /w'"


def test_a_server_is_waited_for_and_asked(container_class: type, engine: Engine) -> None:
    from testcontainers.core.wait_strategies import HttpWaitStrategy

    server = container_class("busybox:latest").with_command(SERVER).with_exposed_ports(8000).with_env("A", "b c")
    server.waiting_for(HttpWaitStrategy(8000).for_status_code(200))
    with server as running:
        address = f"http://{running.get_container_host_ip()}:{running.get_exposed_port(8000)}/"
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.read() == b"hi\n"
        done = running.exec(["sh", "-c", "echo $A; exit 3"])
        assert (done.exit_code, done.output) == (3, b"b c\n")
        assert running.get_logs() == (b"Ready\n", b"")
        assert running.get_wrapped_container().status == "running"
    assert engine.client.containers.list(all=True) == []


def test_a_log_line_is_waited_for(container_class: type, tmp_path) -> None:
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    tmp_path.chmod(0o755)
    (tmp_path / "given").write_text("from the host")
    slow = container_class("busybox:latest").with_command(
        "sh -c 'sleep 0.3; echo Started; cat /given/given; sleep 100'"
    )
    slow.with_volume_mapping(str(tmp_path), "/given", "ro").with_kwargs(mem_limit="64m", user="1000")
    with slow.waiting_for(LogMessageWaitStrategy("Started")) as running:
        assert running.get_wrapped_container().attrs["HostConfig"]["Memory"] == 64 << 20
        running.waiting_for(LogMessageWaitStrategy("from the host"))


def test_a_port_is_waited_for_and_a_name_given(container_class: type, engine: Engine) -> None:
    from testcontainers.core.wait_strategies import PortWaitStrategy

    named = container_class("busybox:latest").with_command(SERVER).with_exposed_ports(8000).with_name("given-name")
    with named.waiting_for(PortWaitStrategy(8000)):
        assert engine.client.containers.get("given-name").attrs["Config"]["Labels"]["org.testcontainers"] == "true"


def test_two_on_a_network_of_their_own_find_each_other(container_class: type, engine: Engine) -> None:
    from testcontainers.core.network import Network
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    with Network() as network:
        server = container_class("busybox:latest").with_command(SERVER).with_network(network)
        server.with_network_aliases("shop").waiting_for(LogMessageWaitStrategy("Ready"))
        with server, container_class("busybox:latest").with_command("sleep 100").with_network(network) as client:
            wait_for(lambda: client.exec(["wget", "-qO-", "http://shop:8000/"]).output == b"hi\n", 10)
    assert [one.name for one in engine.client.networks.list(filters={"type": "custom"})] == []


def test_one_that_ends_too_soon_fails_its_wait(container_class: type, engine: Engine) -> None:
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    brief = container_class("busybox:latest").with_command("sh -c 'echo no; exit 4'")
    with pytest.raises((RuntimeError, TimeoutError)):
        brief.waiting_for(LogMessageWaitStrategy("never").with_startup_timeout(1)).start()
    brief.stop()
    assert engine.client.containers.list(all=True) == []
