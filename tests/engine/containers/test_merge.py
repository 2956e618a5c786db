"""The image's configuration and the client's, merged as Docker merges them."""

from __future__ import annotations

import pytest

from dosirak.engine.containers import merge
from dosirak.engine.containers.documents import ContainerConfig, HealthConfig
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.images.config import Healthcheck, RunConfig


@pytest.mark.parametrize(
    ("asked", "image", "line"),
    [
        ({}, {"cmd": ["sh"]}, ["sh"]),
        ({"cmd": ["ls", "-l"]}, {"cmd": ["sh"]}, ["ls", "-l"]),
        ({"cmd": ["-c", "x"]}, {"entrypoint": ["sh"], "cmd": ["y"]}, ["sh", "-c", "x"]),
        ({}, {"entrypoint": ["sh"], "cmd": ["y"]}, ["sh", "y"]),
        ({"entrypoint": ["python"]}, {"entrypoint": ["sh"], "cmd": ["y"]}, ["python"]),
        ({"entrypoint": ["python"], "cmd": ["-V"]}, {"entrypoint": ["sh"], "cmd": ["y"]}, ["python", "-V"]),
        ({"entrypoint": [], "cmd": ["ls"]}, {"entrypoint": ["sh"]}, ["ls"]),
        ({"entrypoint": [""], "cmd": ["ls"]}, {"entrypoint": ["sh"]}, ["ls"]),
        ({"entrypoint": []}, {"entrypoint": ["sh"], "cmd": ["y"]}, ["y"]),
        ({"cmd": [""]}, {}, [""]),  # a container may be made of it, to be committed; its start says what is wrong
    ],
)
def test_command_lines(asked, image, line):
    assert merge.command(merge.merge(ContainerConfig(**asked), RunConfig(**image))) == line


@pytest.mark.parametrize("asked", [{}, {"cmd": []}, {"entrypoint": [""]}])
def test_without_any_command_it_is_refused(asked):
    with pytest.raises(InvalidRequest, match="no command specified"):
        merge.command(merge.merge(ContainerConfig(**asked), RunConfig()))


def test_environment_of_the_client_comes_first_and_wins():
    config = merge.merge(ContainerConfig(env=["A=1", "B="]), RunConfig(env=["A=0", "C=3", "B=2"]))
    assert config.env == ["A=1", "B=", "C=3"]


def test_the_processes_environment_has_path_hostname_term_and_may_drop_variables():
    config = ContainerConfig(env=["FOO=bar", "HOSTNAME", "PATH=/bin", "E=a=b"], tty=True)
    assert merge.environment(config, "box") == ["PATH=/bin", "TERM=xterm", "FOO=bar", "E=a=b"]
    assert merge.environment(config, "box", ["FOO=2"], tty=False) == ["PATH=/bin", "FOO=2", "E=a=b"]


def test_the_rest_is_merged_and_the_image_is_not_changed():
    image = RunConfig(
        user="app",
        working_dir="/srv",
        labels={"a": "1", "b": "2"},
        exposed_ports={"80/tcp": {}},
        volumes={"/data": {}},
        stop_signal="SIGQUIT",
        healthcheck=Healthcheck(test=["CMD", "x"], retries=3),
    )
    asked = ContainerConfig(
        labels={"b": "3"}, exposed_ports={"81/tcp": {}}, volumes={"/more": {}}, healthcheck=HealthConfig(retries=5)
    )
    config = merge.merge(asked, image)
    assert (config.user, config.working_dir, config.stop_signal) == ("app", "/srv", "SIGQUIT")
    assert config.labels == {"a": "1", "b": "3"}
    assert config.exposed_ports.keys() == {"80/tcp", "81/tcp"}
    assert config.volumes.keys() == {"/data", "/more"}
    assert config.healthcheck.test == ["CMD", "x"] and config.healthcheck.retries == 5
    assert image.labels == {"a": "1", "b": "2"} and image.exposed_ports == {"80/tcp": {}}


@pytest.mark.parametrize(
    ("path", "clean"), [("", ""), ("/", "/"), ("//a//b/", "/a/b"), ("/a/../b", "/b"), ("/..", "/")]
)
def test_working_directories_are_cleaned(path, clean):
    assert merge.clean_working_dir(path) == clean


def test_a_relative_working_directory_is_refused():
    with pytest.raises(InvalidRequest, match="the working directory 'app' is invalid, it needs to be an absolute path"):
        merge.clean_working_dir("app")
