"""All that lies inside a root which others fill is opened by `engine/runtime/inroot`, never by a joined string.

Every place in the modules that handle such roots where a path is put together, or a tree is walked by names, is listed
here with its reason. A new one fails until somebody has thought about whose names it joins.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ENGINE = Path(__file__).resolve().parents[2] / "engine"
ROOMS = ("runtime", "containers", "volumes", "layers", "build", "oci", "supervision")
# The modules that have a root in their hands: there each place has its reason. Everywhere else, FOREIGN holds.
HANDLING = (
    *("runtime/rootfs.py", "runtime/inroot.py", "runtime/devices.py", "runtime/child.py", "runtime/process.py"),
    *("runtime/places.py", "runtime/cgroupmounts.py", "runtime/masks.py"),
    *(
        "runtime/users.py",
        "runtime/idmapped.py",
        "runtime/overlay.py",
        "runtime/filesystems.py",
        "runtime/container.py",
    ),
    *(
        "containers/files/",
        "containers/mounts.py",
        "containers/create.py",
        "containers/bundles.py",
        "containers/view.py",
    ),
    *("containers/launching.py", "containers/spec.py", "containers/run_step.py", "volumes/", "layers/", "build/"),
    *("oci/bundle.py", "oci/launch.py", "oci/lifecycle.py"),
)

# What is to the left of a joining slash, by module, and why it may be there.
OWN = "the engine's own folders, and fixed names or ids in them: no container writes there"
KERNEL = "the kernel's own file systems: /proc/PID of the host, /dev of the host"
INSIDE = "a path inside a root, put together to be opened by inroot (or openat2 with RESOLVE_BENEATH)"
NO_PATH = "no file is opened by it: a port, an image's name, arithmetic, words for people, a path to compare"
REASONS: dict[str, dict[str, set[str]]] = {
    OWN: {
        "runtime/idmapped.py": {"cover", "own"},
        "runtime/rootfs.py": {"bundle"},
        "containers/bundles.py": {"data", "directory", "path", "places", "self.root", "self._spare", "self._trash"},
        "containers/create.py": {"directory"},
        "containers/files/committing.py": {"room.directory(record.id)"},
        "containers/files/door.py": {"self._room.directory(live.record.id)"},
        "containers/files/planning.py": {"directory"},
        "containers/launching.py": {"directory", "bundle"},
        "containers/view.py": {"files", "bundle"},
        "volumes/manager.py": {"settings.data", "self._root", "self._root / name"}
        | {"os.makedirs(self._volumes[name].mountpoint)"},
        "layers/layers.py": {"path", "self.root", "self.root / hex_part(diff_id)", "self._pending", "self._temporary"}
        | {"staging", "place", "directory", "self.path(diff_id).parent", "Path('..')"},
        # A layer's own path as the engine knows it, beside the directory of whoever mounts.
        "runtime/overlay.py": {"os.getcwdb()"},
        "build/builder.py": {"settings.data", "settings.run", "self._place", "self._memory"},
        "build/cache/keeping.py": {"data"},
        "build/context.py": {"place"},
        # The last name of a file copied for the step alone, which has not begun: nobody else can have put a link there.
        "build/mounts/step.py": {"place", "places.disk", "directory"},
        "build/mounts/agent.py": {"place", "directory"},
        # A cache's name is a hash.
        "build/mounts/caches.py": {"self._place", "self._place.glob(f'*{_PART}')"},
        "build/mounts/secrets.py": {"place"},
        # A single name, of the URL's last part.
        "build/remote.py": {"place"},
        "build/solve.py": {"place", "self._place", "self._memory"},
        "build/workspace.py": {"place"},
        "oci/bundle.py": {"bundle"},
        "oci/lifecycle.py": {"os.path.dirname(path)", "bundle"},
    },
    KERNEL: {"oci/launch.py": {"self.pid"}, "runtime/devices.py": {"kind", "os.minor(device)"}},
    INSIDE: {
        "runtime/inroot.py": {"made"},
        # After the pivot: the container's own root is all there is.
        "runtime/process.py": {"directory or '.'"},
        "containers/files/changes.py": {"path"},
        "containers/files/copying.py": {"name.rstrip(b'/')"},
        "layers/directories.py": {"base.rstrip(b'/')", "head"},
        "layers/pack.py": {"path"},
        "build/epoch.py": {"path"},
        "build/files.py": {"pivot", "directory"},
        "build/mounts/secrets.py": {"_FOLDER"},
        "build/paths.py": {"directory"},
        "build/trees.py": {"base", "tree.above[-1].path"},
        "build/walk.py": {"directory.path", "self._real"},
        "build/writing.py": {"destination.rstrip('/')", "made", "head"},
    },
    NO_PATH: {
        "containers/files/paths.py": {"cleaned", "cleaned.rstrip('/')", "directory.rstrip('/')"},
        "containers/view.py": {"bound.container_port"},
        "layers/extract.py": {"base.rstrip('/')"},
        "layers/tarread.py": {"prefix"},
        "runtime/rootfs.py": {"source"},
        "containers/mounts.py": {"path"},
        "build/cache/keeper.py": {"record.created_ns"},
        "build/cache/usage.py": {"until(moments[0])"},
        "build/checks/rules.py": {"_HUMP.sub('-', self.name).lower()"},
        "build/commands.py": {"cleaned", "SCRIPTS"},
        "build/config.py": {"number", "nanoseconds"},
        "build/dockerfile/expand.py": {"name", "pattern"},
        "build/messages.py": {"step"},
        "build/pattern.py": {"inner"},
        "build/writing.py": {"shown(parent)"},
    },
}
# Names that trees with others' files go by: nothing is ever joined to one, whatever the lists say.
FOREIGN = {"upper", "lower", "merged", "diff", "rootfs", "mountpoint", "source.root", "upper_dir", "root_fd"}

WALKERS = ("os.walk", "os.makedirs", "shutil.copytree", "shutil.rmtree", "glob.glob", "glob.iglob")


def joins(tree: ast.AST) -> Iterator[str]:
    """The left side of each path put together in a module, and each walk by names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _called(node)
        elif isinstance(node, ast.JoinedStr):
            yield from _formatted(node)
        elif isinstance(node, ast.BinOp) and _is_join(node):
            yield ast.unparse(node.left)


def _is_join(node: ast.BinOp) -> bool:
    sides = node.left, node.right
    return isinstance(node.op, ast.Div) or (isinstance(node.op, ast.Add) and any(map(_is_slash, sides)))


def _is_slash(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in ("/", b"/")


def _called(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    if name.endswith("path.join") and node.args:
        yield ast.unparse(node.args[0])
    elif isinstance(node.func, ast.Attribute) and node.func.attr == "joinpath":
        yield ast.unparse(node.func.value)
    elif name in ("Path", "PurePath") and len(node.args) > 1:
        yield ast.unparse(node.args[0])
    elif node.args and (name in WALKERS or name.endswith((".glob", ".rglob", ".walk"))):
        yield f"{name}({ast.unparse(node.args[0])})"


def _formatted(node: ast.JoinedStr) -> Iterator[str]:
    for value, after in zip(node.values, node.values[1:], strict=False):
        if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant) and after.value[:1] == "/":
            yield ast.unparse(value.value)


@cache
def found() -> dict[str, set[str]]:
    """Every module of the rooms with what it joins to."""
    modules = {}
    for room in ROOMS:
        for path in sorted((ENGINE / room).rglob("*.py")):
            if lefts := {left for left in joins(ast.parse(path.read_text())) if left not in ("'/'", "b'/'")}:
                modules[str(path.relative_to(ENGINE))] = lefts
    return modules


def listed(module: str) -> set[str]:
    return set().union(*(modules.get(module, set()) for modules in REASONS.values()))


def test_every_joined_path_has_its_reason() -> None:
    handling = {module: lefts for module, lefts in found().items() if module.startswith(HANDLING)}
    assert len(handling) > 20
    unreasoned = {module: more for module, lefts in handling.items() if (more := lefts - listed(module))}
    assert unreasoned == {}, "open it inside the root by engine/runtime/inroot, or add it to REASONS with a reason"


def test_nothing_is_joined_to_a_tree_of_somebody_elses() -> None:
    assert {
        module: bad for module, lefts in found().items() if (bad := {left for left in lefts if _foreign(left)})
    } == {}


def _foreign(left: str) -> bool:
    return left in FOREIGN or left.rpartition(".")[2] in FOREIGN


def test_no_reason_is_left_over() -> None:
    there = found()
    modules = {module for group in REASONS.values() for module in group}
    stale = {module: old for module in modules if (old := listed(module) - there.get(module, set()))}
    assert stale == {}


@pytest.mark.parametrize(
    "code",
    [
        'f"{upper}/etc/passwd"',
        'os.path.join(rootfs, "etc")',
        "Path(volume.mountpoint) / name",
        'Path(merged, "etc")',
        'diff + "/" + name',
        'self.upper.joinpath("etc")',
        "os.walk(upper)",
        "Path(place).rglob('*')",
    ],
)
def test_control_each_way_of_joining_is_seen(code: str) -> None:
    lefts = set(joins(ast.parse(code)))
    assert lefts
    assert lefts.isdisjoint(listed("containers/files/copying.py"))


def test_magic_links_are_followed_only_by_descriptors_of_our_own() -> None:
    """`/proc/self/fd/N` is a path, too: only with a descriptor that was opened safely, never with a name behind it."""
    bad = []
    for room in ROOMS:
        for path in sorted((ENGINE / room).rglob("*.py")):
            text = path.read_text()
            for node in ast.walk(ast.parse(text)) if "/proc/self/fd/" in text else ():
                if isinstance(node, ast.JoinedStr) and "/proc/self/fd/" in ast.unparse(node):
                    whole = ast.unparse(node).strip("f'\"")
                    if whole.rpartition("}")[2]:
                        bad.append(f"{path.relative_to(ENGINE)}:{node.lineno}")
    assert bad == []
