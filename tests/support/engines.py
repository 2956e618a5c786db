"""Real engine services for tests: each with a root of its own, ended and removed by whoever made it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from support import rootless
from support.patience import patient
from support.rootfs import busybox_tar

if TYPE_CHECKING:
    import docker

    from dosirak.engine.settings import Settings

BASE_VARIABLE = "DOSIRAK_TESTS_BASE"
"""Names the session's folder; inherited by every process the suite starts, and so their mark."""

BUSYBOX = "busybox:latest"


def session_base() -> Path:
    """The folder that holds all roots of this session (made by the leak watch, removed by it)."""
    return Path(os.environ[BASE_VARIABLE])


def new_settings(label: str = "e", idle_timeout: float = 300.0) -> Settings:
    """Directories for one more engine, short enough for unix sockets (107 bytes)."""
    from dosirak.engine.settings import Settings

    root = Path(tempfile.mkdtemp(prefix=f"{label}-", dir=session_base()))
    (root / "data").mkdir(mode=0o710)
    # The suite asks nobody outside: what stands for the Hub here refuses at once.
    (root / "data/dosirak.toml").write_text('[registries.locations]\n"docker.io" = "127.0.0.1:1"\n')
    return Settings(data=root / "data", run=root / "run", idle_timeout=idle_timeout)


class Engine:
    """One engine service of the suite, and the real clients pointed at it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._client: docker.DockerClient | None = None
        self._log_seen = 0

    # -- the service -----------------------------------------------------------------------------------------------

    def start(self) -> Engine:
        """Start the service as a notebook would, unless it runs."""
        from dosirak.engine.start import ensure

        ensure(self.settings)
        return self

    @property
    def pid(self) -> int:
        """The service's process, as its lock file names it."""
        return int((self.settings.run / "lock").read_text().split()[0])

    @property
    def socket(self) -> Path:
        """The Docker Engine API's socket."""
        return self.settings.socket

    @property
    def docker_host(self) -> str:
        """`DOCKER_HOST` for clients of this engine."""
        return f"unix://{self.socket}"

    @property
    def log(self) -> str:
        """What the service wrote since `forget_log`, at first everything."""
        try:
            return (self.settings.run / "service.log").read_text(errors="replace")[self._log_seen :]
        except OSError:
            return ""

    def forget_log(self) -> None:
        """Leave what was logged so far out of `log`: it belongs to earlier tests."""
        self._log_seen += len(self.log)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send the service a signal and wait until its process is gone."""
        pid = self.pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        wait_for(lambda: not alive(pid), 15, f"the service (pid {pid}) to end after signal {number}")

    def stop(self) -> None:
        """Remove the containers, end the service politely, and remove its root."""
        try:
            self.start()
            self.remove_containers()
            self.close_client()
            self.kill(signal.SIGTERM)
        finally:
            self.close_client()
        # Not ignore_errors: a busy or unremovable root is a leak, and should say so.
        remove = shutil.rmtree if os.geteuid() == 0 else rootless.remove
        remove(self.settings.data.parent)

    # -- clients ---------------------------------------------------------------------------------------------------

    def environment(self, extra: Mapping[str, str] = {}) -> dict[str, str]:
        """The environment in which clients of this engine run."""
        config = self.settings.data.parent / "docker-config"
        config.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(config),
            "LANG": "C.UTF-8",
            "DOCKER_HOST": self.docker_host,
            "DOCKER_CONFIG": str(config),
            "DOCKER_BUILDKIT": "0",
            "DOCKER_CLI_HINTS": "false",
            BASE_VARIABLE: os.environ[BASE_VARIABLE],
            **extra,
        }

    def docker(
        self,
        *arguments: str | Path,
        stdin: str | bytes | None = None,
        check: bool = True,
        timeout: float = 60.0,
        text: bool = True,
        cwd: Path | None = None,
        env: Mapping[str, str] = {},
    ) -> subprocess.CompletedProcess:
        """Run the real docker CLI to its end. With `check`, a non-zero status fails the test, output shown."""
        if isinstance(stdin, str) and not text:
            stdin = stdin.encode()
        done = subprocess.run(
            ["docker", *map(str, arguments)],
            **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
            capture_output=True,
            text=text,
            timeout=patient(timeout),
            cwd=cwd,
            env=self.environment(env),
        )
        if check and done.returncode:
            raise AssertionError(
                f"docker {' '.join(map(str, arguments))}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def docker_popen(self, *arguments: str | Path, **options: object) -> subprocess.Popen:
        """Start the real docker CLI and return its process; text pipes unless `options` say otherwise."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(
            ["docker", *map(str, arguments)], **{**pipes, "text": True, "env": self.environment(), **options}
        )

    @property
    def client(self) -> docker.DockerClient:
        """docker-py on this engine's socket; closed with the engine."""
        if self._client is None:
            import docker

            self._client = docker.DockerClient(base_url=self.docker_host, timeout=patient(60))
        return self._client

    def close_client(self) -> None:
        """Close docker-py's connections, so that the service sees nobody."""
        if self._client is not None:
            self._client.close()
            self._client = None

    # -- contents --------------------------------------------------------------------------------------------------

    def import_busybox(self) -> str:
        """The small image's name; imported when this engine has it not yet."""
        from docker.errors import ImageNotFound

        try:
            self.client.images.get(BUSYBOX)
        except ImageNotFound:
            repository, tag = BUSYBOX.split(":")
            self.client.api.import_image_from_data(
                busybox_tar(), repository=repository, tag=tag, changes=['CMD ["sh"]']
            )
        return BUSYBOX

    def remove_containers(self) -> None:
        """Force-remove every container, running or not."""
        for row in self.client.api.containers(all=True):
            with contextlib.suppress(Exception):
                self.client.api.remove_container(row["Id"], force=True, v=True)


def alive(pid: int) -> bool:
    """Whether `pid` is a process that has not ended (a zombie has)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_for(condition: Callable[[], object], seconds: float = 10.0, what: str = "") -> None:
    """Poll until `condition` holds; fails the test after `seconds`."""
    deadline = time.monotonic() + patient(seconds)
    pause = 0.002
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what or condition}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
