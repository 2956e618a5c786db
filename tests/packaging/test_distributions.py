"""What is built holds what is here, and works where it is installed."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest

from support.rootfs import unpack

from .conftest import HOUSE, Environment, run

ROOMS = ("engine", "magics", "kernel")

SHOW = """
import dosirak, dosirak.engine.start, dosirak.magics, dosirak.kernel, importlib.resources as r, json
files = {p.name for p in r.files("dosirak.engine.state").iterdir()}
print(json.dumps([dosirak.__file__, dosirak.engine.start.__file__, "schema.sql" in files]))
"""


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def files_here() -> set[str]:
    """Every file of the package, as the wheel should name it."""
    found = {"dosirak/__init__.py", "dosirak/py.typed"}
    for room in ROOMS:
        for path in (HOUSE / room).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                found.add(f"dosirak/{path.relative_to(HOUSE)}")
    return found


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    names = names_in(wheel)
    package = {name for name in names if name.startswith("dosirak/")}
    assert package == files_here()
    assert "dosirak/engine/state/schema.sql" in package
    rest = {name for name in names - package if ".dist-info/" not in name}
    (script,) = (name for name in rest if ".data/scripts/" in name)
    assert script.endswith("/dosirak-runtime")
    rest.remove(script)
    assert {name.partition(".data/data/")[2] for name in rest} == {
        f"share/jupyter/kernels/dosirak/{name}"
        for name in ("kernel.json", "logo-32x32.png", "logo-64x64.png", "logo-svg.svg")
    }


def test_a_wheel_made_from_the_source_distribution_is_the_same(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    unpack(sdist.read_bytes(), tmp_path)
    (source,) = tmp_path.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "again", cwd=source)
    (again,) = (tmp_path / "again").glob("*.whl")
    assert names_in(again) == names_in(wheel)


def test_an_installed_wheel_imports_runs_and_brings_its_kernel(wheel: Path, environment: Environment) -> None:
    environment.install(wheel)
    top, start, has_schema = json.loads(environment.python(SHOW))
    assert Path(top).is_relative_to(environment.path)
    assert Path(start).is_relative_to(environment.path)
    assert has_schema
    assert "Usage: dosirak" in run(environment.bin / "dosirak", "--help", cwd=environment.path)
    link = environment.path / "linked"
    link.symlink_to(environment.bin / "dosirak-runtime")
    for name in (environment.bin / "dosirak-runtime", link):
        assert "dosirak runtime version" in run(name, "--version", cwd=environment.path)
    assert list(environment.path.glob("lib/*/site-packages/dosirak/engine/oci/__pycache__/runtime.*.pack"))
    spec = json.loads((environment.path / "share/jupyter/kernels/dosirak/kernel.json").read_text())
    assert spec["display_name"] == "Dosirak"
    assert spec["language"] == "python"


def test_an_editable_install_sees_this_checkout(environment: Environment) -> None:
    environment.install("--no-build-isolation", "--editable", HOUSE)
    top, start, has_schema = json.loads(environment.python(SHOW))
    assert Path(top) == HOUSE / "src/dosirak/__init__.py"
    assert Path(start).resolve() == HOUSE / "engine/start.py"
    assert has_schema
    assert (environment.path / "share/jupyter/kernels/dosirak/kernel.json").exists()
    assert "dosirak runtime version" in run(environment.bin / "dosirak-runtime", "--version", cwd=environment.path)


@pytest.mark.parametrize("room", ROOMS)
def test_the_links_of_the_source_tree_lead_to_the_rooms(room: str) -> None:
    link = HOUSE / "src/dosirak" / room
    assert link.is_symlink()
    assert link.resolve() == HOUSE / room
