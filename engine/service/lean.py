"""Import aiohttp's server without its client.

`import aiohttp` runs a package file that imports everything, the client first, and that one reads all the machine's
certificates: 130 of the 230 ms (CPU time) that `aiohttp.web_server` would take on the path of starting the service. So
the package is put into `sys.modules` unexecuted; its submodules import as usual, and the first use of one of its
own names (`aiohttp.ClientSession`) executes it after all.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import sys
import types
from pathlib import Path
from typing import Any

_VERSION = re.compile(r'^__version__ = "([^"]+)"', re.MULTILINE)


class _Unexecuted(types.ModuleType):
    """A package whose `__init__.py` runs when one of its names is first used."""

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        assert spec is not None and spec.loader is not None
        if name.startswith("__") or importlib.util.find_spec(f"{spec.name}.{name}") is not None:
            # A submodule that is not imported yet: AttributeError is what makes the import system import it.
            raise AttributeError(name)
        self.__class__ = types.ModuleType  # type: ignore[assignment]
        spec.loader.exec_module(self)
        return getattr(self, name)


def prepare() -> None:
    """Make the next `from aiohttp.… import …` lean. Does nothing where aiohttp is imported already or is unknown."""
    if "aiohttp" in sys.modules:
        return
    spec = importlib.util.find_spec("aiohttp")
    if spec is None or spec.origin is None or not isinstance(spec.loader, importlib.machinery.SourceFileLoader):
        return
    version = _VERSION.search(Path(spec.origin).read_text(encoding="utf-8"))
    if version is None:
        return
    package = _Unexecuted("aiohttp")
    package.__spec__ = spec
    package.__loader__ = spec.loader
    package.__package__ = "aiohttp"
    package.__file__ = spec.origin
    package.__path__ = list(spec.submodule_search_locations or ())
    package.__version__ = version[1]  # type: ignore[attr-defined]  # its own modules read it
    sys.modules["aiohttp"] = package
