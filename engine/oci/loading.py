"""Modules from a pack (`packing`): the loader, which lies compiled in the pack itself.

It stands alone: it is executed before anything can be imported.
"""

import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    Modules = dict[str, tuple[str, bool, int, int]]
    Index = tuple[list[tuple[str, int, int]], Modules, dict[str, list[str]]]


class _Packed:
    """Finds and loads modules of the pack, for `import`."""

    def __init__(self, path: str, fd: int, modules: "Modules") -> None:
        self._path, self._file, self._modules = path, _which(fd), modules

    def find_spec(
        self, name: str, _path: "Sequence[str] | None" = None, _target: "ModuleType | None" = None, /
    ) -> "ModuleSpec | None":
        found = self._modules.get(name)
        if found is None:
            return None
        made: type[ModuleSpec] = type(sys.__spec__)  # without importlib, which is a module too
        spec = made(name, self, origin=found[0], is_package=found[1])  # type: ignore[arg-type]  # all that it asks for
        if found[1]:
            spec.submodule_search_locations = [os.path.dirname(found[0])]
        return spec

    def create_module(self, _spec: "ModuleSpec") -> None:
        return None

    def exec_module(self, module: "ModuleType") -> None:
        module.__file__, _, at, size = self._modules[module.__name__]
        # Opened each time: the numbers of descriptors are the caller's business (--preserve-fds).
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        if _which(fd) == self._file:
            code = marshal.loads(os.pread(fd, size, at))
        else:  # another has been made meanwhile
            with open(module.__file__, "rb") as source:
                code = compile(source.read(), module.__file__, "exec")
        os.close(fd)
        exec(code, module.__dict__)


def _which(fd: int) -> tuple[int, int, int]:
    """What tells one pack from another: the number of one that is gone may be the next one's."""
    found = os.fstat(fd)
    return found.st_ino, found.st_mtime_ns, found.st_size


def _load(fd: int, modules: "Modules", order: "Sequence[str]") -> None:
    """What `import` would do, without its looking: `order` has each module after those that it imports. Raises
    anything, and has loaded nothing then."""
    made = {name: type(sys)(name) for name in order}
    sys.modules.update(made)
    try:
        for name, module in made.items():
            origin, package, _, _ = modules[name]
            parent, _, last = name.rpartition(".")
            module.__file__, module.__package__ = origin, name if package else parent
            if package:
                module.__path__ = [os.path.dirname(origin)]
            if parent:
                setattr(made[parent], last, module)
        for name, module in made.items():
            _, _, at, size = modules[name]
            exec(marshal.loads(os.pread(fd, size, at)), module.__dict__)
    except BaseException:
        for name in made:
            del sys.modules[name]
        raise


def unpack(path: str, fd: int, index: "Index", words: list[str]) -> bool:
    """Load what the command among these words needs, and find the rest when it is asked for. False, and nothing loaded,
    where a module has changed since. Parameters: `path`, `fd`: the pack. Raises anything for one that is damaged."""
    sources, modules, orders = index
    for source, mtime, size in sources:
        now = os.stat(source)
        if now.st_mtime_ns != mtime or now.st_size != size:
            return False
    _load(fd, modules, next((orders[word] for word in words if word in orders), ()))
    sys.meta_path.insert(0, _Packed(path, fd, modules))
    return True
