"""Images of a Dockerfile, made by our own builder: once, and kept between runs as what `docker load` takes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from docker.errors import APIError, BuildError
from images import roots
from images.recipes import LABEL, Recipe

from support.engines import Engine

_BASE = ("debian", "bookworm")
_HERE = Path(__file__).resolve().parent
_PATIENCE = 900


def archive(recipe: Recipe, cache: Path) -> Path:
    """The archive of a recipe that has a folder, under its first name.

    Needs root and the machine's Debian mirror, unless it is there already. Raises CalledProcessError, SystemExit.
    """
    path = cache / f"{recipe.key}-{_print(_HERE / recipe.folder)}.tar"
    if path.exists():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f".{recipe.key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            for former in cache.glob(f"{recipe.key}-*.tar"):
                former.unlink()
            _make(recipe, roots.debian((), cache), path)
    return path


def contents(path: Path) -> tuple[list[bytes], dict[str, Any]]:
    """An archive's layers, the lowest first, and what its configuration says a container is to run."""
    with tarfile.open(path) as packed:

        def read(name: str) -> bytes:
            file = packed.extractfile(name)
            assert file is not None
            return file.read()

        [image] = json.loads(read("manifest.json"))
        return [read(name) for name in image["Layers"]], json.loads(read(image["Config"]))["config"]


def _print(folder: Path) -> str:
    found = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        found.update(f"{file.name} {file.stat().st_mode & 0o111:o} {file.stat().st_size}\n".encode())
        found.update(file.read_bytes())
    return found.hexdigest()[:12]


def _make(recipe: Recipe, base: Path, path: Path) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        with _engine(path.parent) as engine:
            api = engine.client.api
            api.timeout = _PATIENCE
            api.import_image(str(base), *_BASE, changes=['CMD ["bash"]'])
            name, folder = recipe.names[0], str(_HERE / recipe.folder)
            engine.client.images.build(path=folder, tag=name, labels={LABEL: recipe.stands_for}, rm=True)
            with part.open("wb") as file:
                for piece in api.get_image(name):
                    file.write(piece)
        part.rename(path)
    except (APIError, BuildError) as error:
        raise SystemExit(f"{recipe.names[0]}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _engine(cache: Path) -> Iterator[Engine]:
    """An engine of its own, gone afterwards: beside the cache, for it needs the room."""
    from dosirak.engine.settings import Settings

    data = Path(tempfile.mkdtemp(prefix=".engine-", dir=cache))
    run = Path(tempfile.mkdtemp(prefix="images-"))
    engine = Engine(Settings(data / "data", run))
    try:
        yield engine.start()
    finally:
        engine.stop()
        shutil.rmtree(run, ignore_errors=True)
