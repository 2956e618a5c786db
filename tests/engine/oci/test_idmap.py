"""uidMappings and gidMappings of a mount, and its options idmap and ridmap (runtime-spec, config.md, "Mounts")."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Runtime

BASE = 1879048192


def mappings(outside: int) -> dict[str, Any]:
    return {f"{kind}Mappings": [{"containerID": 0, "hostID": outside, "size": 65536}] for kind in ("uid", "gid")}


def showing(source: Path, options: list[str], own: dict[str, Any], user: dict[str, Any] | None = None) -> Any:
    def change(document: dict[str, Any]) -> None:
        mount = {"destination": "/mnt", "type": "bind", "source": str(source), "options": ["bind", *options], **own}
        document["mounts"].append(mount)
        if user:
            document["linux"]["namespaces"].append({"type": "user"})
            document["linux"] |= user

    return change


@pytest.fixture
def source(tmp_path: Path, oci_image: Path) -> Path:
    (oci_image / "mnt").mkdir(exist_ok=True)  # a remapped root may make nothing there
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_text("x")
    os.chown(tmp_path / "source/file", 5, 6)
    return tmp_path / "source"


def test_owners_are_mapped_by_the_mounts_own_mappings(runtime: Runtime, source: Path) -> None:
    change = showing(source, ["idmap"], mappings(BASE))
    done = runtime("run", "--bundle", runtime.bundle("stat", "-c", "%u:%g", "/mnt/file", change=change), runtime.name())
    assert done.stdout == f"{BASE + 5}:{BASE + 6}\n"
    assert (source / "file").stat().st_uid == 5


def test_or_by_the_containers(runtime: Runtime, source: Path) -> None:
    runtime.open_to_all()
    change = showing(source, ["ridmap"], {}, mappings(BASE))
    done = runtime("run", "--bundle", runtime.bundle("stat", "-c", "%u:%g", "/mnt/file", change=change), runtime.name())
    assert done.stdout == "5:6\n"
    plain = showing(source, [], {}, mappings(BASE))
    done = runtime("run", "--bundle", runtime.bundle("stat", "-c", "%u:%g", "/mnt/file", change=plain), runtime.name())
    assert done.stdout == "65534:65534\n"


def test_a_map_that_is_nowhere_is_an_error(runtime: Runtime, source: Path) -> None:
    change = showing(source, ["idmap"], {})
    done = runtime("run", "--bundle", runtime.bundle("true", change=change), runtime.name(), fails=True)
    assert "idmap needs mappings" in done.stderr
