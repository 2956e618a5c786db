"""What containers use: processor time, memory, processes, block and network I/O, once or every second.

`Stats` is the door, reached as `containers.stats`; `sampling` takes one sample, `model` is what it consists of.
"""

from dosirak.engine.containers.stats.door import Stats
from dosirak.engine.containers.stats.model import Interface, Sample

__all__ = ["Interface", "Sample", "Stats"]
