"""The same Dockerfile here, in Docker's classic builder and in buildah: the same config and the same files.

Paths, kinds, modes, owners, contents, links' targets and extended attributes are compared; times are not. Where a peer
is known to differ, `DIFFERENT` says in what and why. `make test-differential` runs this.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.engines import Engine

from . import images
from .builders import BASE, Buildah, Failed, Legacy, ours
from .cases import CASES, Case, context

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("DOSIRAK_TESTS_DIFFERENTIAL"),
        reason="two minutes with other builders: make test-differential",
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.xdist_group("differential"),
]

DIFFERENT = {
    ("legacy", "nothing"): "like BuildKit we give every image a PATH; the classic builder only with its first step",
    ("buildah", "nothing"): "like BuildKit we give every image a PATH; buildah only with its first step",
    ("legacy", "from nothing"): "like BuildKit we begin scratch in /",
    ("buildah", "from nothing"): "like BuildKit we begin scratch in /",
    ("buildah", "a shell of one's own"): "buildah 1.28 has /bin/sh in CMD whatever SHELL says",
    ("buildah", "port ranges"): "buildah 1.28 writes a range as one port, which no engine can use",
    ("buildah", "work directories"): "buildah 1.28 makes a work directory only when something runs in it",
}
"""(peer, case) → why the two need not agree."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("differential")
    context(made / "context")
    return made


@pytest.fixture(scope="module")
def base(folder: Path, worker_engine: Engine) -> Path:
    """The image that all stand on, as an archive that each loads."""
    worker_engine.import_busybox()
    worker_engine.docker("tag", "busybox:latest", BASE)
    worker_engine.docker("save", "-o", folder / "base.tar", BASE)
    return folder / "base.tar"


@pytest.fixture(scope="module")
def legacy(folder: Path, base: Path) -> Iterator[Legacy]:
    made = Legacy(folder / "dockerd")
    try:
        made.load(base)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def buildah(folder: Path, base: Path) -> Iterator[Buildah]:
    made = Buildah(folder / "buildah")
    try:
        made.load(base)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def made_here(folder: Path, base: Path, worker_engine: Engine) -> dict[str, Any]:
    """What our own builds gave, each done once."""
    return {}


def _dockerfile(folder: Path, case: Case) -> Path:
    path = folder / "Dockerfile"
    first = "" if case.text.startswith("FROM") else f"FROM {BASE} AS stage\n"
    path.write_text(first + case.text.replace("{base}", BASE) + "\n")
    return path


@pytest.mark.parametrize("peer", ["legacy", "buildah"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_image_is_the_peers(
    case: Case,
    peer: str,
    folder: Path,
    made_here: dict[str, Any],
    worker_engine: Engine,
    request: pytest.FixtureRequest,
) -> None:
    if peer not in case.only:
        pytest.skip(f"{peer} does not know this")
    builder = request.getfixturevalue(peer)
    dockerfile = _dockerfile(folder, case)
    if case.name not in made_here:
        ours(worker_engine).build(folder / "context", dockerfile, case.flags, folder / "ours.tar")
        made_here[case.name] = images.read(folder / "ours.tar")
    archive = folder / f"{peer}.tar"
    archive.unlink(missing_ok=True)
    try:
        builder.build(folder / "context", dockerfile, case.flags, archive)
    except Failed as failure:
        pytest.fail(f"{peer}: {failure}")
    (config, files), (their_config, their_files) = made_here[case.name], images.read(archive)
    differences = [
        f"config {key}: {config[key]!r}, {peer}: {their_config[key]!r}"
        for key in config
        if config[key] != their_config[key]
    ]
    differences += [
        f"{path}: {files.get(path)}, {peer}: {their_files.get(path)}"
        for path in sorted(files.keys() | their_files.keys())
        if files.get(path) != their_files.get(path)
    ]
    if differences and (peer, case.name) in DIFFERENT:
        pytest.skip(f"known to differ: {DIFFERENT[peer, case.name]}")
    assert not differences, "\n".join(differences)
    assert (peer, case.name) not in DIFFERENT, "no longer different: take it off the list"
