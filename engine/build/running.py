"""RUN done: the command in a container of its own, which no record names."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from dosirak.engine.build.graph import Execute
from dosirak.engine.build.model import BuildRequest, Limits
from dosirak.engine.build.mounts.step import Places, StepMounts
from dosirak.engine.build.report import Reporter
from dosirak.engine.build.stubs import TARGETS, find_stubs, remove_stubs
from dosirak.engine.build.workspace import Workspace, merged_view, opened
from dosirak.engine.containers import HostConfig
from dosirak.engine.containers.documents import Ulimit

if TYPE_CHECKING:
    from dosirak.engine.containers import Containers

_SHM_SIZE = 64 << 20


async def run_command(
    containers: Containers,
    vertex: Execute,
    workspace: Workspace,
    mounts: StepMounts,
    places: Places,
    request: BuildRequest,
    reporter: Reporter,
) -> int:
    """Runs the command; returns its exit status.

    What mounting had to make in the step's root is gone when this returns. Raises EngineError when the command can't
    be started; when cancelled, the process is gone before this is left.
    """
    with merged_view(workspace.lowers) as root:
        stubs = find_stubs(root, [*TARGETS, *mounts.targets])
    step = secrets.token_hex(32)
    async with AsyncExitStack() as stack:
        entered = await mounts.enter(places, stack)
        reporter.running(vertex, step)
        code = await containers.run_step(
            id=step,
            lowers=workspace.lowers,
            upper=workspace.upper,
            work=workspace.work,
            argv=vertex.argv,
            env=(*vertex.env, *vertex.transparent),
            cwd=vertex.cwd,
            user=vertex.user,
            network=vertex.network,
            extra_hosts=request.extra_hosts,
            shm_size=request.limits.shm_size or _SHM_SIZE,
            limits=_host_config(request.limits),
            mounts=entered.documents,
            private_env=entered.variables,
            output=lambda stream, data: reporter.output(vertex, stream, data),
        )
    with opened(workspace.upper) as upper:
        remove_stubs(upper, stubs)
    return code


def _host_config(limits: Limits) -> HostConfig:
    return HostConfig(
        memory=limits.memory,
        memory_swap=limits.memory_swap,
        cpu_shares=limits.cpu_shares,
        cpu_period=limits.cpu_period,
        cpu_quota=limits.cpu_quota,
        cpuset_cpus=limits.cpuset_cpus,
        cpuset_mems=limits.cpuset_mems,
        ulimits=[Ulimit(name=name, soft=soft, hard=hard) for name, soft, hard in limits.ulimits] or None,
    )
