"""The others: bare runtimes on one bundle, sandboxes, and whole engines, each with folders of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import NotHere, Prepare, quietly
from benchmarks.rawclient import Client
from support.rootfs import busybox_tar, make_root

_IDS = itertools.count()

CGROUP = "/dosirak-bench"


def bundle(folder: Path, cgroup: str) -> Path:
    """An OCI bundle that runs `true`: what `runc spec` writes, without a terminal. The same for every runtime."""
    _need("runc")
    root = folder / "rootfs"
    root.mkdir()
    make_root(root)
    subprocess.run(["runc", "spec", "--bundle", folder], check=True)
    path = folder / "config.json"
    document = json.loads(path.read_text())
    document["process"].update(terminal=False, args=["/bin/true"])
    document["process"].pop("rlimits", None)  # raising RLIMIT_NOFILE needs a capability that not every root has
    document["linux"]["cgroupsPath"] = cgroup
    path.write_text(json.dumps(document))
    return folder


def runtime(program: str) -> Prepare:
    """`runc run` or `crun run` of the bundle, or that of another with this command line."""

    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        _need(program)
        made = bundle(folder, f"{CGROUP}/{Path(program).name}")

        def run() -> None:
            name = f"bench-{next(_IDS)}"
            quietly(program, "--root", folder / "state", "run", "--bundle", made, name)()

        yield run

    return prepare


@contextmanager
def bubblewrap(folder: Path) -> Iterator[Callable[[], None]]:
    """bwrap with every namespace it can make; no cgroup, no overlay, no masked paths."""
    _need("bwrap")
    make_root(folder)
    yield quietly(
        *("bwrap", "--unshare-all", "--bind", folder, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
        *("--cap-drop", "ALL", "/bin/true"),
    )


@contextmanager
def unshare(folder: Path) -> Iterator[Callable[[], None]]:
    """util-linux's unshare with six namespaces and a chroot: a floor, not a container."""
    _need("unshare")
    make_root(folder)
    flags = ("--fork", "--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup")
    yield quietly("unshare", *flags, "--root", folder, "/bin/true")


class Dockerd:
    """A dockerd of the benchmark's own, in a network namespace of its own; started by the first row that asks.

    Parameters: `networks`: False has it on the machine's network, where it makes nothing (to reach a registry there).
    """

    def __init__(self, folder: Path, *, networks: bool = True) -> None:
        self._folder = folder
        self._networks = networks
        self._daemon: subprocess.Popen[bytes] | None = None
        self.socket = folder / "docker.sock"
        self.environment = {**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(folder)}

    def start(self) -> None:
        """Start it, and import the image. Raises NotHere."""
        if self._daemon is not None:
            return
        _need("dockerd")
        _need("docker")
        folder = self._folder
        folder.mkdir()
        command = ["unshare", "--net", "--kill-child", "--fork", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
        if not self._networks:
            command = []
        command += ["dockerd"]
        command += [] if self._networks else ["--bridge", "none", "--iptables=false", "--ip6tables=false"]
        command += ["--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")]
        command += ["--pidfile", str(folder / "pid"), "--host", f"unix://{self.socket}"]
        command += ["--cgroup-parent", CGROUP, "--default-ulimit", "nofile=1024:4096"]
        with (folder / "log").open("wb") as log:
            self._daemon = subprocess.Popen(command, stdin=log, stdout=log, stderr=log, start_new_session=True)
        self._until_ready()
        archive = folder / "busybox.tar"
        archive.write_bytes(busybox_tar())
        quietly("docker", "import", archive, "busybox", env=self.environment)()

    def cpu(self) -> float:
        """Processor time of the daemon, its containerd, and what they have started and waited for, in seconds."""
        pid = (self._folder / "pid").read_text()
        # Children belong to the thread that started them.
        threads = Path(f"/proc/{pid}/task").glob("*/children")
        return sum(map(spent, [pid, *(child for file in threads for child in file.read_text().split())]))

    def stop(self) -> None:
        """End it."""
        if self._daemon is None:
            return
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self._folder / "pid").read_text()), signal.SIGTERM)
        try:
            self._daemon.wait(30)
        except subprocess.TimeoutExpired:
            self._daemon.kill()
        # It mounts its data root on itself, and leaves that.
        subprocess.run(["umount", self._folder / "data"], capture_output=True)

    def _until_ready(self) -> None:
        assert self._daemon is not None
        deadline = time.monotonic() + 30
        while subprocess.run(["docker", "version"], env=self.environment, capture_output=True).returncode:
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                said = (self._folder / "log").read_text().strip().splitlines() or ["no output"]
                raise NotHere(f"dockerd does not start: {said[-1]}")
            time.sleep(0.1)

    def run(self, network: str) -> Prepare:
        """`docker run --rm` by Docker's client."""

        @contextmanager
        def prepare(folder: Path) -> Iterator[Callable[[], None]]:
            self.start()
            yield quietly("docker", "run", "--rm", "--network", network, "busybox", "true", env=self.environment)

        return prepare

    def api(self, network: str) -> Prepare:
        """Create, start, wait, remove over its socket, by the same raw client as ours."""

        @contextmanager
        def prepare(folder: Path) -> Iterator[Callable[[], None]]:
            self.start()
            client = Client(str(self.socket))
            yield lambda: client.cycle("busybox", network)
            client.close()

        return prepare


def podman_run(network: str) -> Prepare:
    """`podman run --rm` on storage of its own, with runc (Debian's crun refuses hybrid control groups)."""

    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        _need("podman")
        configuration = folder / "containers.conf"
        configuration.write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n')
        environment = {**os.environ, "CONTAINERS_CONF": str(configuration)}
        base = ("podman", "--root", folder / "root", "--runroot", folder / "run")
        base += ("--cgroup-manager", "cgroupfs", "--runtime", "runc", "--events-backend", "none")
        archive = folder / "busybox.tar"
        archive.write_bytes(busybox_tar())
        quietly(*base, "import", archive, "busybox", env=environment)()
        try:
            yield quietly(*base, "run", "--rm", "--network", network, "busybox", "true", env=environment)
        finally:
            subprocess.run([*base, "system", "reset", "--force"], env=environment, capture_output=True)

    return prepare


def remove_cgroups() -> None:
    """Docker and podman leave the parents of their control groups behind."""
    root = Path("/sys/fs/cgroup")
    for parent in (CGROUP, "/libpod_parent"):
        for top in (Path(f"{root}{parent}"), *root.glob(f"*{parent}")):
            if not top.parent.is_mount():
                # Where a host has no such hierarchy podman makes plain folders, with files that nothing else removes.
                shutil.rmtree(top, ignore_errors=True)
                with contextlib.suppress(OSError):
                    top.parent.rmdir()
                continue
            for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            with contextlib.suppress(OSError):
                top.rmdir()


def spent(pid: str | int) -> float:
    """Processor time of a process, of threads that have ended too, and of the children it has waited for, in seconds.

    utime, stime, cutime, cstime of proc_pid_stat(5), in ticks of 10 ms.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _need(program: str) -> None:
    if shutil.which(program) is None:
        raise NotHere("not installed")
