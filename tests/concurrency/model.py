"""A small model of Docker's state machine for one container: what each call answers, and what the state is after it.

Texts and statuses are moby's (daemon/{start,stop,kill,pause,unpause,restart,delete,rename,exec}.go, and the routes'
wrapping of them).
"""

from __future__ import annotations

from dataclasses import dataclass, field

OK = (204, "")


@dataclass(frozen=True)
class Kind:
    """What a container of the tests does when it is started.

    `ends` says with which code it ends by itself (None: it runs until told to end); `traps`: signal → exit code of the
    handlers that its script sets; `policy` restarts it.
    """

    name: str
    command: tuple[str, ...]
    ends: int | None = None
    fails: int | None = None
    traps: dict[str, int] = field(default_factory=dict)
    auto_remove: bool = False
    policy: str = ""
    network: str = "none"

    @property
    def says_ready(self) -> bool:
        """Whether its handlers are set only when it has said so."""
        return bool(self.traps)


_SCRIPT = "trap 'exit 7' TERM; trap 'exit 8' USR1; trap '' HUP; echo ready; while :; do sleep 1000 & wait; done"
_TRAPS = {"TERM": 7, "USR1": 8}

KINDS = {
    kind.name: kind
    for kind in (
        Kind("sleeper", ("sleep", "1000"), network="bridge"),
        Kind("polite", ("sh", "-c", _SCRIPT), traps=_TRAPS),
        Kind("passing", ("sh", "-c", _SCRIPT), traps=_TRAPS, auto_remove=True),
        Kind("always", ("sh", "-c", _SCRIPT), traps=_TRAPS, policy="always"),
        Kind("brief", ("sh", "-c", "exit 3"), ends=3, network="bridge"),
        Kind("fleeting", ("true",), ends=0, auto_remove=True),
        Kind("broken", ("/no/such/program",), fails=127, network="bridge"),
    )
}


@dataclass
class Modelled:
    """One container as it should be."""

    id: str
    kind: Kind
    state: str = "created"
    code: int = 0
    restarts: int = 0
    runs: int = 0

    @property
    def running(self) -> bool:
        """Docker's `State.Running`."""
        return self.state in ("running", "paused")

    # What a call answers

    def on_start(self) -> tuple[int, str]:
        """POST start."""
        if self.state == "paused":
            return 409, "cannot start a paused container, try unpause instead"
        if self.state == "running":
            return 304, ""
        return self._launched(OK)

    def on_restart(self, ref: str) -> tuple[int, str]:
        """POST restart with t=0."""
        status, text = self._launched(OK)
        return (500, f"Cannot restart container {ref}: {text}") if status == 400 else (status, text)

    def _launched(self, ok: tuple[int, str]) -> tuple[int, str]:
        if self.kind.fails is None:
            return ok
        return 400, "failed to create task for container: …no such file or directory…"

    def on_kill(self, ref: str, signal: str) -> tuple[int, str]:
        """POST kill."""
        if signal == "NONSENSE":
            return 400, f"cannot kill container: {ref}: invalid signal: NONSENSE"
        if not self.running:
            return 409, f"cannot kill container: {ref}: container {self.id} is not running"
        return OK

    def on_pause(self) -> tuple[int, str]:
        """POST pause."""
        if self.state == "paused":
            return 409, f"container {self.id} is already paused"
        return OK if self.running else (409, f"container {self.id} is not running")

    def on_unpause(self) -> tuple[int, str]:
        """POST unpause."""
        return OK if self.state == "paused" else (500, f"Container {self.id} is not paused")

    def on_remove(self, ref: str, force: bool) -> tuple[int, str]:
        """DELETE."""
        if not self.running or force:
            return OK
        reason = (
            "container is paused and must be unpaused first"
            if self.state == "paused"
            else f"container is {self.state}: stop the container before removing or force remove"
        )
        return 409, f'cannot remove container "{ref}": {reason}'

    def on_exec(self, ref: str) -> tuple[int, str]:
        """POST exec."""
        if self.state == "paused":
            return 409, f"Container {ref} is paused, unpause the container before exec"
        return (201, "") if self.running else (409, f"container {self.id} is not running")

    # What happens to it

    def started(self) -> None:
        """A start that worked, with the end of what ends by itself."""
        self.runs += 1
        self.restarts = 0
        if self.kind.ends is None:
            self.state, self.code = "running", 0
        else:
            self.ended(self.kind.ends)

    def failed(self) -> None:
        """A start that did not work."""
        assert self.kind.fails is not None
        self.code = self.kind.fails

    def ended(self, code: int) -> None:
        """The end of a run."""
        self.state, self.code = "exited", code
        if self.kind.auto_remove:
            self.state = "gone"
