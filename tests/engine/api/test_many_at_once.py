"""Many clients at once on a busy machine: every one gets its own output and its own exit code."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import docker

from support.engines import Engine

ROUNDS = 6


def by_cli(engine: Engine, image: str, worker: int) -> None:
    for number in range(ROUNDS):
        script = f"cat; echo {worker}-{number}; echo e >&2; exit {number}"
        done = engine.docker("run", "--rm", "-i", image, "sh", "-c", script, stdin="in\n", check=False)
        assert (done.stdout, done.stderr, done.returncode) == (f"in\n{worker}-{number}\n", "e\n", number)


def by_docker_py(engine: Engine, image: str, worker: int) -> None:
    client = docker.DockerClient(base_url=engine.docker_host, timeout=60)
    for number in range(ROUNDS):
        assert client.containers.run(image, f"echo {worker}-{number}", remove=True) == f"{worker}-{number}\n".encode()
        container = client.containers.run(image, "sleep 100", detach=True)
        for code in range(3):
            assert container.exec_run(["sh", "-c", f"echo e; exit {code}"]) == (code, b"e\n")
        done = engine.docker("exec", container.id, "sh", "-c", "echo o; exit 5", check=False)
        assert (done.stdout, done.returncode) == ("o\n", 5)
        container.stop(timeout=0)
        container.start()
        container.kill()
        assert container.wait()["StatusCode"] == 137
        container.remove()
    client.close()


def test_every_client_gets_its_own_output_and_status(engine: Engine, busybox: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit((by_cli, by_docker_py)[worker % 2], engine, busybox, worker) for worker in range(8)]
        for one in work:
            one.result(timeout=100)
