"""Many containers at once: `python tests/benchmarks/many.py [--count N] [--clients N] [--peers]`.

Started in parallel, listed, looked at, counted, removed, all over one socket by the same raw client; then what the
service and each container's supervisor hold in memory. With `--peers` dockerd does the same, with fewer containers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.measure import NotHere, cpu_of
from benchmarks.peers import Dockerd, remove_cgroups
from benchmarks.rawclient import Client
from benchmarks.session import end_cleanly
from support.engines import BASE_VARIABLE, Engine, new_settings

BODY = {"Image": "busybox:latest", "Cmd": ["sleep", "100000"], "HostConfig": {"NetworkMode": "bridge"}}


class Crowd:
    """A number of running containers of one engine."""

    def __init__(self, socket: str, clients: int) -> None:
        self._clients = [Client(socket) for _ in range(clients)]
        self._pool = ThreadPoolExecutor(clients)
        self.ids: list[str] = []

    def each(self, work: Sequence[str], do: Callable[[Client, str], object]) -> float:
        """Let all clients do this for each of `work`; seconds."""
        count = len(self._clients)
        began = time.perf_counter()
        shares = [
            self._pool.submit(lambda client, part: [do(client, one) for one in part], client, work[number::count])
            for number, client in enumerate(self._clients)
        ]
        for share in shares:
            share.result()
        return time.perf_counter() - began

    def start(self, count: int) -> float:
        """Create and start them; seconds."""

        def one(client: Client, name: str) -> None:
            created = json.loads(client.ask("POST", f"/containers/create?name={name}", BODY))["Id"]
            client.ask("POST", f"/containers/{created}/start")
            self.ids.append(created)

        return self.each([f"many{number}" for number in range(count)], one)

    def remove(self, ids: Sequence[str]) -> float:
        """`rm -f`; seconds."""
        return self.each(ids, lambda client, ident: client.ask("DELETE", f"/containers/{ident}?force=1"))

    def best(self, path: str, rounds: int = 15) -> tuple[float, int]:
        """A GET's fastest time in seconds, and its answer's size."""
        times, size = [], 0
        for _ in range(rounds):
            began = time.perf_counter()
            size = len(self._clients[0].ask("GET", path))
            times.append(time.perf_counter() - began)
        return min(times), size

    def inspect(self, ident: str) -> dict:
        """A container."""
        return json.loads(self._clients[0].ask("GET", f"/containers/{ident}/json"))

    def close(self) -> None:
        """Hang up."""
        self._pool.shutdown()
        for client in self._clients:
            client.close()


def rows(socket: str, count: int, clients: int, service: int | None) -> Iterator[tuple[str, str]]:
    """Each figure's name and value. `service`: its process, to look at its time and memory."""
    crowd = Crowd(socket, clients)
    try:
        spent = cpu_of(service) if service else 0.0
        seconds = crowd.start(count)
        yield f"{count} started by {clients} clients, a second", f"{count / seconds:.1f}"
        if service:
            yield "  service CPU each, ms", f"{(cpu_of(service) - spent) / count * 1000:.1f}"
        time.sleep(1)
        fifty = min(50, count)
        for name, path, rounds in (
            (f"list of {count}, ms", "/containers/json?all=1", 15),
            ("  with size, ms", "/containers/json?all=1&size=1", 3),
            ("inspect, ms", f"/containers/{crowd.ids[0]}/json", 50),
        ):
            took, size = crowd.best(path, rounds)
            yield name, f"{took * 1000:.1f}  ({size / 1024:.0f} kB)"
        yield f"docker ps -a of {count}, ms", f"{cli(socket, 'ps', '-a') * 1000:.1f}"
        # The client itself reads 200 containers and writes them, in 2800 pieces, in 11 ms more than it takes for none.
        yield "  its own start (docker --version), ms", f"{cli(socket, '--version') * 1000:.1f}"
        query = "stats?stream=0&one-shot=1"
        stats = crowd.each(crowd.ids[:fifty], lambda client, ident: client.ask("GET", f"/containers/{ident}/{query}"))
        yield f"one-shot stats of {fifty}, ms", f"{stats * 1000:.0f}"
        if service:
            yield "service RSS, MB", f"{rss(service) / 1e6:.1f}"
        for name, kilobytes in supervisors([crowd.inspect(ident)["State"]["Pid"] for ident in crowd.ids[:fifty]]):
            yield name, f"{kilobytes:.0f}"
        yield f"rm -f of {fifty}, ms", f"{crowd.remove(crowd.ids[:fifty]) * 1000:.0f}"
        crowd.ids = crowd.ids[fifty:]
    finally:
        with contextlib.suppress(RuntimeError):
            crowd.remove(crowd.ids)
        crowd.close()


def cli(socket: str, *words: str, rounds: int = 15) -> float:
    """The docker CLI's fastest time, in seconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        host = {"DOCKER_HOST": f"unix://{socket}"}
        subprocess.run(["docker", *words], env=os.environ | host, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - began)
    return min(times)


def rss(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def supervisors(pids: Sequence[int]) -> Iterator[tuple[str, float]]:
    """Kilobytes (PSS) of the processes that hold these, each, and what they are made of."""
    parents = {int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in pids}
    parts: dict[str, float] = defaultdict(float)
    for parent in parents - {0, 1}:
        part = ""
        for line in Path(f"/proc/{parent}/smaps").read_text().splitlines():
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                name = words[5] if len(words) > 5 else "[anon]"
                part = name if name.startswith("[") else "files: " + Path(name).name
            elif words[0] == "Pss:":
                parts[part] += int(words[1]) / len(parents)
    yield "PSS of a supervisor, kB", sum(parts.values())
    for part, kilobytes in sorted(parts.items(), key=lambda item: -item[1])[:6]:
        yield f"  {part}", kilobytes


def show(title: str, found: Iterator[tuple[str, str]]) -> None:
    """Print rows as they come."""
    print(title)
    try:
        for name, value in found:
            print(f"  {name:42} {value}", flush=True)
    except (NotHere, RuntimeError, OSError) as reason:
        print(f"  -  {reason}")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    end_cleanly()
    with tempfile.TemporaryDirectory(prefix="dsk-many-") as folder:
        os.environ.setdefault(BASE_VARIABLE, folder)
        engine = Engine(new_settings("b"))
        engine.start().import_busybox()
        try:
            show("dosirak", rows(str(engine.socket), options.count, options.clients, engine.pid))
        finally:
            engine.stop()
        if options.peers:
            daemon = Dockerd(Path(folder) / "dockerd")
            try:
                daemon.start()
                show("dockerd", rows(str(daemon.socket), min(50, options.count), options.clients, None))
            except NotHere as reason:
                print(f"dockerd  -  {reason}")
            finally:
                daemon.stop()
                remove_cgroups()


if __name__ == "__main__":
    main()
