"""Bundles, launches and attached clients for tests of the runtime alone, without an engine service.

`Box` makes bundles of a busybox root below a folder of the test's own, starts them through a launcher, and at its end
looks that no process, cgroup or mount is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dosirak.engine.runtime import cgroups, defaults, syscalls
from dosirak.engine.runtime.seccomp import Filter
from dosirak.engine.supervision.client import Launcher
from dosirak.engine.supervision.model import Attach, Exit, Launch, LogFile
from dosirak.engine.supervision.task import Task
from support.patience import patient

CGROUPS = Path("/sys/fs/cgroup")
PATIENCE = patient(20.0)


class Wire:
    """An attached client: our end of its socket, and all that has come over it."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.data = bytearray()

    def attach(self, **options: Any) -> Attach:
        """The end for the monitor."""
        return Attach(self.theirs, **options)

    async def read(self) -> bytes:
        """The next piece, b"" at the end."""
        async with asyncio.timeout(PATIENCE):
            piece = await asyncio.get_running_loop().sock_recv(self.ours, 1 << 18)
        self.data += piece
        return piece

    async def until(self, wanted: bytes) -> bytes:
        """Read until `wanted` has come; all that came so far."""
        while wanted not in self.data:
            assert await self.read(), f"ended before {wanted!r}: {bytes(self.data[-2000:])!r}"
        return bytes(self.data)

    async def all(self) -> bytes:
        """Read to the end."""
        while await self.read():
            pass
        return bytes(self.data)

    async def send(self, data: bytes) -> None:
        """Input."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_sendall(self.ours, data)

    def end_input(self) -> None:
        """Half-close."""
        self.ours.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.ours.close()


def split(data: bytes) -> tuple[bytes, bytes]:
    """Docker's multiplexed frames as (stdout, stderr)."""
    streams = {1: bytearray(), 2: bytearray()}
    at = 0
    while at < len(data):
        kind, size = data[at], int.from_bytes(data[at + 4 : at + 8], "big")
        assert kind in streams, f"no frame at {at}: {data[at : at + 16]!r}"
        assert data[at + 1 : at + 4] == b"\0\0\0"
        streams[kind] += data[at + 8 : at + 8 + size]
        assert at + 8 + size <= len(data), "the last frame is cut off"
        at += 8 + size
    return bytes(streams[1]), bytes(streams[2])


@dataclass
class Result:
    """A run from start to end. `out` and `err` as an attached client saw them (all in `out` with a terminal)."""

    exit: Exit
    out: str
    err: str
    log: list[dict[str, str]]

    @property
    def code(self) -> int:
        return self.exit.code

    def fields(self) -> dict[str, str]:
        """Lines "name: value" of the output."""
        return {
            name.strip(): value.strip() for name, _, value in (line.partition(":") for line in self.out.split("\n"))
        }


class Bundle:
    """One container's folder."""

    def __init__(self, path: Path, spec: dict[str, Any]) -> None:
        self.path, self.spec = path, spec
        self.log_path = path / "json.log"

    @property
    def cgroup(self) -> str:
        return self.spec["linux"]["cgroupsPath"]

    def write(self) -> Bundle:
        (self.path / "config.json").write_text(json.dumps(self.spec))
        return self

    def log(self) -> list[dict[str, str]]:
        """The log's entries."""
        text = self.log_path.read_text() if self.log_path.exists() else ""
        return [json.loads(line) for line in text.split("\n") if line]

    def logged(self, stream: str = "stdout") -> str:
        return "".join(entry["log"] for entry in self.log() if entry["stream"] == stream)


class Started:
    """A container that runs, with one client attached."""

    def __init__(self, task: Task, wire: Wire, bundle: Bundle) -> None:
        self.task, self.wire, self.bundle = task, wire, bundle

    async def finish(self) -> Result:
        """Wait for its end and for the end of its output."""
        data = bytes(await self.wire.all())
        end = await ended(self.task)
        framed = not self.bundle.spec["process"]["terminal"]
        out, err = split(data) if framed else (data, b"")
        return Result(end, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"), self.bundle.log())

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.task.kill(number)


def new_network() -> int:
    """A descriptor of a new, empty network namespace."""
    found: list[int] = []

    def make() -> None:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        found.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return found[0]


async def ended(task: Task) -> Exit:
    """The end of the process and of its monitor."""
    async with asyncio.timeout(PATIENCE):
        end = await task.wait()
        await task.gone()
    return end


class Box:
    """Makes and runs containers."""

    def __init__(self, root: Path, base: Path, launcher: Launcher, network: int = -1) -> None:
        """Parameters: `network`: a network namespace for containers that ask for one, as the engine gives them (only
        then do the launcher's spare processes fit); -1: each makes its own."""
        self.root, self.base, self.launcher, self.network = root, base, launcher, network
        self.bundles: list[Bundle] = []
        self.tasks: list[Task] = []
        self.wires: list[Wire] = []

    def wire(self) -> Wire:
        made = Wire()
        self.wires.append(made)
        return made

    def bundle(
        self,
        args: Sequence[str] = ("true",),
        *,
        tty: bool = False,
        user: str = "",
        mounts: Sequence[dict[str, Any]] = (),
        resources: dict[str, Any] | None = None,
        namespaces: Sequence[str] = defaults.NAMESPACES,
        lower: Sequence[Path] = (),
        change: Callable[[dict[str, Any]], object] | None = None,
        **process: Any,
    ) -> Bundle:
        """A bundle as the engine would write it; `lower`: layers above busybox, `change` edits the document."""
        name = uuid.uuid4().hex[:16]
        path = self.root / name
        for folder in ("rootfs", "upper", "work"):
            (path / folder).mkdir(parents=True)
        granted = list(defaults.DEFAULT_CAPABILITIES)
        layers = [*lower, self.base]
        spec = {
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs"},
            "hostname": "box",
            "process": {
                "terminal": tty,
                "args": list(args),
                "env": ["PATH=/bin"],
                "cwd": "/",
                "user": {"username": user},
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), granted),
                **process,
            },
            "mounts": [
                {
                    "destination": "/",
                    "type": "overlay",
                    "source": "overlay",
                    "options": [
                        *(f"lowerdir+={layer}" for layer in layers),
                        f"upperdir={path / 'upper'}",
                        f"workdir={path / 'work'}",
                    ],
                },
                *defaults.mounts(),
                *mounts,
            ],
            "linux": {
                "namespaces": [{"type": kind} for kind in namespaces],
                "cgroupsPath": f"dosirak/test-{name}",
                "maskedPaths": list(defaults.MASKED_PATHS),
                "readonlyPaths": list(defaults.READONLY_PATHS),
                "resources": resources or {},
            },
        }
        if change is not None:
            change(spec)
        made = Bundle(path, spec).write()
        self.bundles.append(made)
        return made

    def layer(self, **files: str | None) -> Path:
        """A layer's folder: path (with "__" for "/") → content; None makes a directory, "->x" a symlink."""
        folder = Path(tempfile.mkdtemp(dir=self.root, prefix="layer-"))
        folder.chmod(0o755)
        for name, content in files.items():
            # Never an absolute path: `folder / "/x"` is the host's.
            path = folder / name.replace("__", "/").lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.mkdir()
            elif content.startswith("->"):
                path.symlink_to(content[2:])
            else:
                path.write_text(content)
        return folder

    async def launch(
        self, bundle: Bundle, *, log: bool = True, launcher: Launcher | None = None, **options: Any
    ) -> Task:
        """Start a bundle as it stands; `options` are those of `Launch`."""
        log_file = options.pop("log_file", LogFile(bundle.log_path) if log else None)
        entries = bundle.spec["linux"].get("namespaces") or ()
        kinds = [entry["type"] for entry in entries if not entry.get("path")]
        if self.network >= 0 and "network" in kinds and "user" not in kinds:
            options["join"] = {"network": self.network, **options.get("join", {})}
        asked = Launch(id=bundle.path.name, bundle=bundle.path, log=log_file, **options)
        async with asyncio.timeout(PATIENCE):
            task = await (launcher or self.launcher).launch(asked)
        self.tasks.append(task)
        return task

    async def start(
        self,
        args: Sequence[str] | str | Bundle,
        *,
        stdin: bool = False,
        wire: Wire | None = None,
        options: dict[str, Any] | None = None,
        **bundle: Any,
    ) -> Started:
        """Start a container with a client attached; a string is a shell script. `options` are those of `Launch`."""
        made = args if isinstance(args, Bundle) else self.bundle(_words(args), **bundle)
        wire = wire or self.wire()
        framed = not made.spec["process"]["terminal"]
        client = wire.attach(stdin=stdin, framed=framed)
        task = await self.launch(made, stdin=stdin, stdin_once=stdin, attach=(client,), **(options or {}))
        return Started(task, wire, made)

    async def run(self, args: Sequence[str] | str | Bundle, *, stdin: bytes | None = None, **options: Any) -> Result:
        """Run a container to its end."""
        started = await self.start(args, stdin=stdin is not None, **options)
        if stdin is not None:
            reader = asyncio.ensure_future(started.wire.all())
            await started.wire.send(stdin)
            started.wire.end_input()
            await reader
        return await started.finish()

    async def exec(
        self,
        started: Started,
        args: Sequence[str] | str,
        *,
        stdin: bytes | None = None,
        tty: bool = False,
        **process: Any,
    ) -> Result:
        """Run a further process in a container to its end."""
        task, wire = await self.exec_start(started, args, stdin=stdin is not None, tty=tty, **process)
        if stdin is not None:
            reader = asyncio.ensure_future(wire.all())
            await wire.send(stdin)
            wire.end_input()
            await reader
        data = bytes(await wire.all())
        end = await ended(task)
        out, err = (data, b"") if tty else split(data)
        return Result(end, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"), [])

    async def exec_start(
        self,
        started: Started,
        args: Sequence[str] | str,
        *,
        stdin: bool = False,
        tty: bool = False,
        size: tuple[int, int] | None = None,
        filter: Filter | None = None,
        **process: Any,
    ) -> tuple[Task, Wire]:
        """Start a further process in a container."""
        wire = self.wire()
        document = {**started.bundle.spec["process"], "terminal": tty, "args": _words(args), **process}
        asked = Launch(
            id="exec",
            bundle=started.bundle.path,
            stdin=stdin,
            stdin_once=True,
            attach=(wire.attach(stdin=stdin, framed=not tty),),
            filter=filter,
            size=size,
        )
        async with asyncio.timeout(PATIENCE):
            task = await self.launcher.exec(asked, started.task.pidfd, document, started.bundle.spec)
        self.tasks.append(task)
        return task, wire

    async def close(self) -> None:
        """End what runs; nothing of it may be left."""
        for task in self.tasks:
            await task.stop_restarting()
            with contextlib.suppress(ProcessLookupError):
                task.kill(signal.SIGKILL)
        for wire in self.wires:
            wire.close()
        for task in self.tasks:
            await ended(task)
        for bundle in self.bundles:
            if any(task.exit and task.exit.error for task in self.tasks):
                await asyncio.to_thread(cgroups.remove, bundle.cgroup)
            assert cgroup_folders(bundle.cgroup) == [], "a cgroup is left"
        mounts = Path("/proc/self/mountinfo").read_text()
        assert str(self.root) not in mounts, "a mount is left"
        shutil.rmtree(self.root)


def _words(args: Sequence[str] | str) -> list[str]:
    return ["sh", "-c", args] if isinstance(args, str) else list(args)


def cgroup_folders(path: str) -> list[str]:
    """The folders of a cgroup in every hierarchy that has it."""
    return [str(top / path) for top in (CGROUPS, *CGROUPS.iterdir()) if (top / path).is_dir()]


def bind(source: Path | str, destination: str, *options: str, kind: str = "bind") -> dict[str, Any]:
    """An entry of a document's mounts."""
    return {
        "destination": destination,
        "type": kind,
        "source": str(source),
        "options": list(options) or ["rbind", "rprivate"],
    }


def start_time(pid: int) -> int:
    """When a process started, in clock ticks: with the pid it names the process for good. 0: there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def alive(pid: int, started: int) -> bool:
    return started > 0 and start_time(pid) == started


def descendants(pid: int) -> dict[int, int]:
    """A process with all below it: pid → start time."""
    found = {pid: start_time(pid)}
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(name))
    todo = [pid]
    while todo:
        for child in parents.get(todo.pop(), []):
            found[child] = start_time(child)
            todo.append(child)
    return found


async def until(condition: Callable[[], object], what: str = "", seconds: float = 20.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + patient(seconds)
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what or condition}"
        await asyncio.sleep(0.01)
