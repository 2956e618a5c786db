"""Fixtures of the whole suite. Everything here is real: services, the docker CLI, docker-py, kernel objects.

- `settings`      directories for an engine of the test's own; nothing is started
- `engine`        a running engine (`support.engines.Engine`), one a worker, shared by its tests: its containers are
                  removed after each test, its images stay
- `fresh_engine`  a running engine of this test alone, ended and removed after it (about a second more)
- `docker_host`   `DOCKER_HOST` of `engine`
- `docker`        the real docker CLI on `engine`: `docker("run", "--rm", busybox, "true").stdout`
- `client`        docker-py on `engine`
- `busybox`       an image's name on `engine`: static busybox, its applets, users root and user(1000)
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from support import unprivileged
from support.attacks import Attacks
from support.engines import BASE_VARIABLE, Engine, new_settings
from support.leaks import LeakWatch
from support.patience import SLOWER
from support.rootless import VARIABLE as ROOTLESS

if TYPE_CHECKING:
    import docker as docker_py

    from dosirak.engine.settings import Settings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--count-attacks", action="store_true", help="say at the end how many attacks were tried")


def pytest_configure(config: pytest.Config) -> None:
    """Start the watch in the controller, before any worker or fixture exists."""
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        config.pluginmanager.register(LeakWatch(), "dosirak-leak-watch")
    if config.option.count_attacks:
        config.pluginmanager.register(Attacks(), "dosirak-attacks")
    if SLOWER > 1:
        from dosirak.engine import start

        start.READY_TIMEOUT *= SLOWER


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """As an ordinary user (`make test-rootless`) what can't hold there is skipped, with its reason."""
    if ROOTLESS in os.environ:
        unprivileged.skip(items)


@pytest.fixture
def settings() -> Iterator[Settings]:
    """Directories of an engine of the test's own; the folder is removed after it, and must be removable."""
    made = new_settings("s")
    yield made
    shutil.rmtree(made.data.parent)


@pytest.fixture(scope="session")
def worker_engine() -> Iterator[Engine]:
    """The engine shared by all tests of this worker. Tests ask for `engine` instead, which tidies up."""
    _need_root()
    shared = Engine(new_settings("w"))
    yield shared.start()
    shared.stop()


@pytest.fixture
def engine(worker_engine: Engine) -> Iterator[Engine]:
    """A running engine without containers."""
    worker_engine.forget_log()
    yield worker_engine.start()
    worker_engine.start().remove_containers()


@pytest.fixture
def fresh_engine() -> Iterator[Engine]:
    """A running engine of this test alone: for tests that kill it, fill its disk or count its things."""
    _need_root()
    own = Engine(new_settings("f"))
    yield own.start()
    own.stop()


@pytest.fixture
def docker_host(engine: Engine) -> str:
    """`DOCKER_HOST` of the engine."""
    return engine.docker_host


@pytest.fixture
def docker(engine: Engine) -> Callable[..., Any]:
    """The real docker CLI on the engine; see `Engine.docker` for its parameters."""
    if shutil.which("docker") is None:
        pytest.skip("the docker command is not installed (Debian: apt install docker.io or docker-cli)")
    return engine.docker


@pytest.fixture
def client(engine: Engine) -> docker_py.DockerClient:
    """docker-py on the engine."""
    return engine.client


@pytest.fixture
def busybox(engine: Engine) -> str:
    """The small image's name."""
    return engine.import_busybox()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test shows the end of its engine's log."""
    report = yield
    if report.failed:
        for name in ("engine", "fresh_engine"):
            engine = getattr(item, "funcargs", {}).get(name)
            if engine is not None and (log := engine.log):
                report.sections.append((f"{name}'s service.log", "\n".join(log.splitlines()[-60:])))
    return report


def _need_root() -> None:
    if os.geteuid() != 0 and ROOTLESS not in os.environ:
        pytest.skip("needs root: namespaces, mounts and control groups of the real kernel")
    assert BASE_VARIABLE in os.environ
