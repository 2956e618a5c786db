"""Restart policies that are refused, in Docker's words (moby, api/types/container, ValidateRestartPolicy)."""

from __future__ import annotations

from dosirak.engine.containers.documents import RestartPolicy
from dosirak.engine.errors import InvalidRequest


def check(policy: RestartPolicy) -> None:
    """Raises InvalidRequest."""
    if policy.name not in ("", "no", "always", "on-failure", "unless-stopped"):
        raise InvalidRequest(
            f"invalid restart policy: unknown policy '{policy.name}'; use one of 'no', 'always', 'on-failure', or"
            " 'unless-stopped'"
        )
    count = policy.maximum_retry_count
    if policy.name == "on-failure" and count < 0:
        raise InvalidRequest("invalid restart policy: maximum retry count cannot be negative")
    if count and policy.name not in ("", "on-failure"):
        also = " and cannot be negative" if count < 0 else ""
        raise InvalidRequest(f"invalid restart policy: maximum retry count can only be used with 'on-failure'{also}")
