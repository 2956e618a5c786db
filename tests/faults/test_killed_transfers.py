"""Pulls, pushes, loads, imports, commits, builds and prunes at once, and the service killed under them: what was
answered stays, what was half-made goes, and the store is an OCI layout for others at every moment.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support import registries, storage, tars
from support.engines import Engine, wait_for
from support.patience import patient
from support.seeds import LONG, seed

from .conftest import returns_to, settled

ROUNDS = 100 if LONG else 6
pytestmark = pytest.mark.timeout(patient(3600 if LONG else 180))


def layer(number: int, megabytes: int = 3) -> bytes:
    """A layer of its own: one large file, and many small ones."""
    small = {f"small-{number}-{one}": str(one) for one in range(100)}
    return tars.files(**{f"large-{number}": random.Random(number).randbytes(megabytes << 20)}, **small)


@pytest.fixture(scope="module")
def registry() -> Iterator[registries.Registry]:
    """A real registry with an image of three layers, two of which another shares."""
    if registries.BINARY is None:
        pytest.skip("needs Debian's docker-registry")
    with registries.running() as found:
        layers = [layer(number) for number in range(4)]
        found.image("pulled:1", layers[:3])
        found.image("pulled:2", [*layers[:2], layers[3]])
        yield found


@pytest.fixture
def archive(fresh_engine: Engine, tmp_path: Path) -> Path:
    """What `load` reads."""
    path = tmp_path / "archive.tar"
    fresh_engine.docker("import", "-", "loaded:1", stdin=layer(10, 6), text=False)
    fresh_engine.docker("save", "-o", path, "loaded:1")
    fresh_engine.docker("rmi", "loaded:1")
    return path


def test_whatever_is_killed_the_store_is_whole_and_nothing_half_made_stays(
    fresh_engine: Engine, registry: registries.Registry, archive: Path, tmp_path: Path
) -> None:
    engine, busybox, dice = fresh_engine, fresh_engine.import_busybox(), random.Random(seed())
    # The first push packs the image's layer, which stays so.
    engine.docker("tag", busybox, f"{registry.address}/kept:1")
    engine.docker("push", "-q", f"{registry.address}/kept:1")
    before = settled(engine)
    engine.docker("create", "--name", "box", busybox, "sh")
    (tmp_path / "root.tar").write_bytes(layer(20, 6))
    engine.docker("cp", tmp_path / "root.tar", "box:/root.tar")
    (tmp_path / "Dockerfile").write_text(f"FROM {busybox}\nCOPY root.tar /\nRUN echo $$ > /pid\n")
    work = {
        "pull": ("pull", f"{registry.address}/pulled:1"),
        "pull another": ("pull", f"{registry.address}/pulled:2"),
        "push": ("push", f"{registry.address}/kept:1"),
        "load": ("load", "-i", str(archive)),
        "import": ("import", str(tmp_path / "root.tar"), "imported:1"),
        "commit": ("commit", "box", "committed:1"),
        "build": ("build", "--no-cache", "-t", "built:1", str(tmp_path)),
        "prune": ("image", "prune", "-a", "-f"),
        "remove": ("rmi", "-f", "loaded:1", "imported:1", "committed:1"),
    }
    for _ in range(ROUNDS):
        chosen = dice.sample(sorted(work), 4)
        print("at once:", ", ".join(chosen), flush=True)
        with ExitStack() as ending:
            for name in chosen:
                ending.enter_context(
                    engine.docker_popen(*work[name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                ).stdin.close()
            time.sleep(dice.uniform(0, 1.2))
            engine.kill(signal.SIGKILL)
        engine.start()
        wait_for(lambda: not [*storage.wrong(engine)], 10, "the store to be whole")
    engine.docker("rm", "-f", "box")
    names = engine.docker("images", "--format", "{{.ID}}", "--no-trunc").stdout.split()
    for name in set(names):
        engine.docker("run", "--rm", "--entrypoint", "", name, "true", check=False)
    if shutil.which("skopeo"):
        copied = tmp_path / "copied"
        layout = engine.settings.data / "content"
        subprocess.run(
            ["skopeo", "--insecure-policy", "copy", "-q", f"oci:{layout}:docker.io/library/{busybox}", f"oci:{copied}"],
            check=True,
            timeout=patient(60),
        )
        assert os.path.exists(copied / "index.json")
    others = [one for one in set(names) if one != engine.client.images.get(busybox).id]
    if others:
        engine.docker("rmi", "-f", *others)
    engine.docker("builder", "prune", "-a", "-f")
    engine.docker("tag", busybox, f"{registry.address}/kept:1")
    returns_to(engine, before, "nothing to be left but what was there before")


def test_everything_at_once_loses_no_blob(fresh_engine: Engine, registry: registries.Registry, archive: Path) -> None:
    engine, busybox, dice = fresh_engine, fresh_engine.import_busybox(), random.Random(seed())
    engine.docker("create", "--name", "box", busybox, "sh")
    ends = time.monotonic() + (300 if LONG else 8)
    while time.monotonic() < ends:
        work = [
            ("pull", "-q", f"{registry.address}/pulled:1"),
            ("pull", "-q", f"{registry.address}/pulled:2"),
            ("load", "-q", "-i", str(archive)),
            ("commit", "-c", f"LABEL n={dice.random()}", "box", "committed:1"),
            ("image", "prune", "-a", "-f"),
            ("rmi", "-f", f"{registry.address}/pulled:{dice.choice('12')}"),
        ]
        dice.shuffle(work)
        running = []
        for words in work:
            running.append((words, engine.docker_popen(*words)))
            time.sleep(dice.uniform(0, 0.05))
        for words, process in running:
            said, wrong = process.communicate(timeout=patient(60))
            # A name may be gone again when it is asked for; one prune at a time; nothing else goes wrong.
            excused = ("No such image", "already running", "is using its referenced image", "image is being used")
            assert process.returncode == 0 or any(words in wrong for words in excused), (words, said, wrong)
        assert [*storage.wrong(engine)] == []
    for tag in "12":
        engine.docker("pull", "-q", f"{registry.address}/pulled:{tag}")
    assert [*storage.wrong(engine)] == []
