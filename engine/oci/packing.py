"""The modules of `dosirak runtime`, compiled, in one file: how it is made. `program` reads it, by `loading`.

It lies where Python keeps compiled modules, belongs to who may write there, and counts as long as the sources are what
they were. Whoever may not write there starts a little slower.
"""

from __future__ import annotations

import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_WANTED = ("dosirak", "__future__")
# All that any command imports of this package.
_MODULES = (
    "commands",
    "console",
    "events",
    "execution",
    "features",
    "lifecycle",
    "limits",
    "loading",
    "looking",
    "template",
)
# What is loaded at once for the commands that start and end a container; `import` finds the rest when it is asked for.
_COMMANDS = {
    **dict.fromkeys(("create", "run"), ("commands", "lifecycle")),
    "exec": ("commands", "execution"),
    **dict.fromkeys(("start", "delete"), ("commands", "lifecycle", "state")),
    "kill": ("commands", "lifecycle", "signals", "state"),
    "state": ("commands", "documents", "state"),
}


def write(path: str) -> None:
    """Make it, whole or not at all; where that can't be, there is none."""
    try:
        os.mkdir(os.path.dirname(path), 0o755)
    except OSError:
        pass
    beside = f"{path}.{os.getpid()}"
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError:
        return
    try:
        with open(fd, "wb") as file:
            file.write(_collect())  # all of it, or an error: on a full disk there is no half one
        os.rename(beside, path)
    except OSError:
        os.unlink(beside)


class _Noted:
    """Stands before a loader, and notes which module was done when."""

    done: list[str] = []  # noqa: RUF012

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self.done.append(module.__name__)

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:
        """By the finder for files, as `import` would."""
        spec = sys.meta_path[-1].find_spec(name, path, target)
        if spec is not None and spec.loader is not None and name.startswith(_WANTED):
            spec.loader = cls(spec.loader)  # type: ignore[assignment]
        return spec


def _collect() -> bytes:
    """The index's length in four bytes; `loading`, and the index: the sources with their times and sizes; the modules
    by name: their file, whether they are packages, where their code is and how long; by command, what is loaded at
    once. The codes."""
    for name in [name for name in sys.modules if name.startswith(_WANTED)]:
        del sys.modules[name]  # anew, to see in which order
    sys.meta_path.insert(0, _Noted)
    try:
        __import__("dosirak.engine.oci")
        roots = {name: _import(name) for name in (*_MODULES, "signals", "state", "documents")}
    finally:
        sys.meta_path.remove(_Noted)
    sources, found = [], {}
    for name in _Noted.done:
        spec: Any = sys.modules[name].__spec__
        if not str(spec.origin).endswith(".py"):
            continue
        status = os.stat(spec.origin)
        sources.append((spec.origin, status.st_mtime_ns, status.st_size))
        # Without its words for people (as python -OO has it): what is not read need not be in memory.
        code = compile(spec.loader.get_source(name), spec.origin, "exec", optimize=2, dont_inherit=True)
        found[name] = spec.origin, spec.submodule_search_locations is not None, marshal.dumps(code)
    orders = {command: _order([roots[name] for name in names], list(found)) for command, names in _COMMANDS.items()}
    return _lay_out(sources, found, orders)


def _import(name: str) -> ModuleType:
    __import__(f"dosirak.engine.oci.{name}")
    return sys.modules[f"dosirak.engine.oci.{name}"]


def _order(roots: list[ModuleType], done: list[str]) -> list[str]:
    """Those that the roots need, as far as one sees it by their names, each after what it needs itself."""
    wanted: set[str] = set()
    left = [root.__name__ for root in roots]
    while left:
        name = left.pop()
        if name in wanted or name not in done:
            continue
        wanted.add(name)
        left.append(name.rpartition(".")[0])
        module: Any = sys.modules[name]
        imported = module.__spec__.loader.get_code(name).co_names  # a package has modules that others imported as well
        for key, value in vars(module).items():
            if isinstance(value, type(sys)):
                left.append(value.__name__ if key in imported else "")
            else:
                left.append(getattr(value, "__module__", None) or "")
    return [name for name in done if name in wanted]


def _lay_out(
    sources: list[tuple[str, int, int]], found: dict[str, tuple[str, bool, bytes]], orders: dict[str, list[str]]
) -> bytes:
    loader = marshal.loads(found["dosirak.engine.oci.loading"][2])
    start = 0
    while True:  # until the index is as long as it says itself
        at, modules = start, {}
        for name, (origin, package, code) in found.items():
            modules[name] = origin, package, at, len(code)
            at += len(code)
        index = marshal.dumps((loader, (sources, modules, orders)))
        if start == 4 + len(index):
            break
        start = 4 + len(index)
    return len(index).to_bytes(4, "little") + index + b"".join(code for _, _, code in found.values())
