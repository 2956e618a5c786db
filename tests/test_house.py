"""The rules of the house, held by tools: style, types, layers, sizes, and what the engine may not do."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[1]
ROOMS = ("engine", "magics", "kernel")
LONGEST_MODULE = 500

TOOLS = {
    "ruff": ["ruff", "check", "."],
    "mypy": ["mypy"],
    "import-linter": ["lint-imports", "--no-cache"],
}


@pytest.mark.parametrize("tool", TOOLS)
def test_tools_find_nothing(tool: str) -> None:
    program, *arguments = TOOLS[tool]
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments], cwd=HOUSE, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def modules(*rooms: str) -> Iterator[Path]:
    for room in rooms:
        yield from sorted((HOUSE / room).rglob("*.py"))


def test_no_module_has_grown_past_one_subject() -> None:
    lengths = {str(path.relative_to(HOUSE)): len(path.read_text().splitlines()) for path in modules(*ROOMS, "tests")}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE} == {}


def test_the_engine_never_shells_out() -> None:
    # Kernel interfaces are the product: no ip, nft, mount, tar, runc or docker behind them.
    names = {"subprocess", "pty", "commands"}
    calls = {("os", "system"), ("os", "popen")}
    found = [
        f"{path.relative_to(HOUSE)}:{node.lineno}"
        for path in modules("engine")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(alias.name in names for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module in names)
        or (
            isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (node.value.id, node.attr) in calls
        )
    ]
    # The one child it starts by subprocess is its own launcher.
    assert [where for where in found if not where.startswith("engine/supervision/client.py:")] == []


# Who starts a program, and which: itself, or one whose work is nobody's system call.
STARTS = {
    "engine/api/doctor.py": "the doctor, in a process of its own",
    "engine/containers/security/apparmor.py": "apparmor_parser: the profile language has no other compiler",
    "engine/containers/sharing/joining.py": "the maker of user namespaces, which needs a process without threads",
    "engine/networks/dns/service.py": "the name server",
    "engine/oci/hooks.py": "hooks, which are programs",
    "engine/oci/looking.py": "ps, as runc does",
    "engine/oci/sealing.py": "itself, sealed",
    "engine/rootless/making.py": "newuidmap, newgidmap, pasta or slirp4netns, and itself in the user namespace",
    "engine/runtime/process.py": "the container's program",
    "engine/start.py": "the service",
    "engine/supervision/client.py": "the launcher",
    "engine/supervision/launcher.py": "itself, sealed",
    "engine/supervision/logs/compressor.py": "the compressor of logs",
}


def test_each_start_of_a_program_has_its_reason() -> None:
    starts = {"create_subprocess_exec", "create_subprocess_shell", "posix_spawn", "posix_spawnp", "fork_exec"}
    starts |= {"execv", "execve", "execvp", "execvpe", "execl", "execle", "execlp", "execlpe"}
    starts |= {"spawnv", "spawnve", "spawnl", "spawnle"}
    found = {
        str(path.relative_to(HOUSE))
        for path in modules("engine")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in starts
    }
    assert found == STARTS.keys()


def test_every_folder_of_code_says_what_lives_there() -> None:
    silent = [
        str(path.relative_to(HOUSE))
        for path in modules(*ROOMS)
        if path.name == "__init__.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_the_makefile_shows_its_targets() -> None:
    shown = subprocess.run(["make"], cwd=HOUSE, capture_output=True, text=True, check=True).stdout
    for target in re.findall(r"^([^\s:]+):.*## ", (HOUSE / "Makefile").read_text(), re.MULTILINE):
        assert f"make {target} " in shown


def test_nobody_asks_whether_this_is_root_but_where_it_is_decided() -> None:
    """Elsewhere an ordinary user's engine, root of a user namespace, is to be the same code (`runtime.privilege`)."""
    asks = {"getuid", "geteuid"}
    # Whether to enter a user namespace, whose directories and whose systemd: before it is entered.
    decides = {
        "engine/rootless/__init__.py",
        "engine/settings.py",
        "engine/service/scope.py",
        "engine/service/systemd.py",
    }
    found = {
        str(path.relative_to(HOUSE))
        for path in modules("engine")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare)
        and any(isinstance(part, ast.Constant) and part.value == 0 for part in (node.left, *node.comparators))
        and any(
            isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr in asks
            for part in (node.left, *node.comparators)
        )
    }
    assert found - decides == set()
