"""What a container may take of the host: memory, processors, processes, block I/O; at create and by `update`.

`Limits` is the door, reached as `containers.limits`; `facts` is what the host can limit, `checks` what is refused or
discarded with a warning, `oci` the limits in the runtime's words, `group` the cgroup's place, `changes` what an update
makes of a container's limits, `storage` is --storage-opt, `killing` tells when the kernel kills for want of memory.
"""

from dosirak.engine.containers.limits.door import Limits
from dosirak.engine.containers.limits.facts import HostFacts

__all__ = ["HostFacts", "Limits"]
