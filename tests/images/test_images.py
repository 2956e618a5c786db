"""The tutorials' images: what stands behind a name is said, and a tutorial's own commands run."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from images import make, roots
from images.recipes import LABEL, RECIPES

from support import registries, tars
from support.engines import Engine

SMALL = ("busybox", "alpine", "alicek106/volume_test")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registries.Registry]:
    """A registry with the images that need no package."""
    if registries.BINARY is None:
        pytest.skip("needs Debian's docker-registry")
    with registries.running() as registry:
        for recipe in make.chosen(SMALL, large=False):
            make.push(recipe, registry, tmp_path_factory.mktemp("cache"))
        yield registry


def test_the_commands_of_a_tutorial_run_unchanged(fresh_engine: Engine, mirror: registries.Registry) -> None:
    text = f'[registries.mirrors]\n"docker.io" = ["http://{mirror.address}"]\n'
    (fresh_engine.settings.data / "dosirak.toml").write_text(text)
    docker = fresh_engine.docker
    said = docker("run", "-i", "--name", "volume_override", "alicek106/volume_test", "cat", "/home/testdir_2/test")
    assert said.stdout == "test\n"
    docker("pull", "alpine")
    assert docker("run", "--rm", "busybox", "echo", "hello").stdout == "hello\n"
    label = json.loads(docker("inspect", "alpine").stdout)[0]["Config"]["Labels"][LABEL]
    assert "not Alpine" in label
    docker("rm", "volume_override")


def test_every_name_says_what_it_is() -> None:
    table = make.table(RECIPES)
    for recipe in RECIPES:
        assert all(name in table for name in recipe.names) and recipe.stands_for in table
        official = recipe.names[0].partition(":")[0]
        assert official in ("busybox", "debian") or "not" in recipe.stands_for or "Debian's" in recipe.stands_for
    names = [name for recipe in RECIPES for name in recipe.names]
    assert len(names) == len(set(names))
    with pytest.raises(SystemExit, match="no recipe"):
        make.chosen(["windows"], large=True)


def test_a_layer_is_what_was_added(tmp_path: Path) -> None:
    (tmp_path / "base.tar").write_bytes(tars.files(same="1", changed="old"))
    (tmp_path / "whole.tar").write_bytes(tars.files(same="1", changed="new", more="2"))
    (tmp_path / "added.tar").write_bytes(roots.added(tmp_path / "base.tar", tmp_path / "whole.tar"))
    with tarfile.open(tmp_path / "added.tar") as archive:
        assert sorted(archive.getnames()) == ["changed", "more"]
