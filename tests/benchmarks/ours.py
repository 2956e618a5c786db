"""Dosirak's own rows: the engine over its API, behind docker-py, the docker CLI and the magic, and the bare runtime."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import NotHere, Prepare, quietly
from benchmarks.peers import bundle
from benchmarks.rawclient import Client
from support.engines import BUSYBOX, Engine
from support.rootfs import make_root

_IDS = itertools.count()


def api(engine: Engine, network: str) -> Prepare:
    """Create, start, wait, remove by raw requests: the engine's own time."""

    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        client = Client(str(engine.socket))
        yield lambda: client.cycle(BUSYBOX, network)
        client.close()

    return prepare


def docker_py(engine: Engine, network: str) -> Prepare:
    """The same through docker-py."""

    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        client = engine.client

        def run() -> None:
            container = client.containers.create(BUSYBOX, ["true"], network_mode=network)
            container.start()
            assert container.wait()["StatusCode"] == 0
            container.remove()

        yield run

    return prepare


def docker_cli(engine: Engine, network: str) -> Prepare:
    """`docker run --rm` by Docker's own client: its start-up counts too."""

    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        command = ("docker", "run", "--rm", "--network", network, BUSYBOX, "true")
        yield quietly(*command, env=engine.environment())

    return prepare


def magic(engine: Engine, network: str) -> Prepare:
    """`%container run --rm` in an IPython shell, attached and streaming, as a person types it."""

    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        from IPython.core.interactiveshell import InteractiveShell

        os.environ["DOCKER_HOST"] = engine.docker_host
        shell = InteractiveShell.instance()
        shell.run_line_magic("load_ext", "dosirak")

        def run() -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                shell.run_line_magic("container", f"run --rm --network {network} {BUSYBOX} true")

        yield run
        del os.environ["DOCKER_HOST"]

    return prepare


@contextmanager
def floor(folder: Path) -> Iterator[Callable[[], None]]:
    """What no runtime of ours could be faster than."""
    import dosirak

    for name in ("lower", "upper", "work", "merged"):
        (folder / name).mkdir()
    make_root(folder / "lower")
    script, source = Path(__file__).with_name("floor.py"), Path(dosirak.__file__).parents[1]
    command = [sys.executable, "-S", "-E", "-I", script, source, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin and process.stdout

        def run() -> None:
            process.stdin.write(b".")
            assert process.stdout.read(1) == b"."

        yield run
        process.stdin.close()


@contextmanager
def bare(folder: Path) -> Iterator[Callable[[], None]]:
    """Our runtime on the very bundle that runc gets: launcher, monitor, container, exit status."""
    try:
        from dosirak.engine.supervision.client import Launcher
        from dosirak.engine.supervision.model import Launch
    except ImportError as error:
        raise NotHere(str(error)) from error
    made = bundle(folder, "dosirak/bench")
    loop = asyncio.new_event_loop()
    launcher = Launcher()
    loop.run_until_complete(launcher.start())

    async def cycle() -> None:
        task = await launcher.launch(Launch(id=f"bench{next(_IDS)}", bundle=made))
        end = await task.wait()
        await task.gone()
        if end.code:
            raise NotHere(f"exit code {end.code} {end.error}")

    yield lambda: loop.run_until_complete(cycle())
    loop.run_until_complete(launcher.close())
    loop.close()
