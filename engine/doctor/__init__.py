"""What this host allows containers, what is missing, what that costs, and the command that would give it.

Works without the engine: `python -m dosirak.engine.doctor` is a process of its own, with one thread, which tries things
in children that end at once. The `dosirak doctor` command and the service run it and show what it says.

- `model`    what was seen (`Seen`), and what that means (`Finding`)
- `looking`  what files tell: the kernel, cgroups, settings, ids, programs
- `trying`   what only a try tells: namespaces, mounts, overlays, filters, networks
- `judging`  from the one to the other; pure
- `remedies` the commands, for the distribution that this is; pure
"""

from dosirak.engine.doctor.judging import judge
from dosirak.engine.doctor.model import Finding, Report, Seen

__all__ = ["Finding", "Report", "Seen", "judge"]
