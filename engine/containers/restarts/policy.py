"""Whether a container that doesn't run is to be brought up again. Pure."""

from __future__ import annotations

from dosirak.engine.containers.model import Container


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
