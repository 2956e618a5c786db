"""Whether a container that doesn't run is to be brought up again. Pure."""

from __future__ import annotations

from dosirak.engine.containers.model import Container

# Docker's back-off between restarts: doubles from a tenth of a second to a minute, begins anew after ten seconds of
# running (moby, restartmanager).
_FIRST_SECONDS, _LONGEST_SECONDS, _GOOD_RUN_SECONDS = 0.1, 60.0, 10.0


def delay(record: Container, before: float) -> float:
    """Seconds until a container that has ended is started again. Parameters: `before`: how many it was last time."""
    good = record.state.finished_at - record.state.started_at >= _GOOD_RUN_SECONDS
    return _FIRST_SECONDS if good or not before else min(before * 2, _LONGEST_SECONDS)


def wants_up(record: Container, *, booted: bool) -> bool:
    """Docker's rule for a container that is down (moby, restartmanager.ShouldRestart).

    Parameters: `booted`: the machine has been started since. That is where "always" differs from "unless-stopped": it
    comes back even when it was stopped by hand. Docker does so whenever its daemon starts; a service of ours comes and
    goes with its clients, and no container should come back because of that.
    """
    if not record.state.started_at or (record.manually_stopped and not booted):
        return False
    policy = record.host_config.restart_policy
    if policy.name == "on-failure":
        most = policy.maximum_retry_count
        return record.state.exit_code != 0 and (not most or record.restart_count < most)
    return policy.name == "always" or (policy.name == "unless-stopped" and not record.manually_stopped)
