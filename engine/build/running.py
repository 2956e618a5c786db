"""RUN done: the command in a container of its own, which no record names."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from dosirak.engine.build.graph import Execute
from dosirak.engine.build.model import BuildRequest
from dosirak.engine.build.report import Reporter
from dosirak.engine.build.stubs import TARGETS, find_stubs, remove_stubs
from dosirak.engine.build.workspace import Workspace, merged_view, opened
from dosirak.engine.errors import NotSupported

if TYPE_CHECKING:
    from dosirak.engine.containers import Containers


async def run_command(
    containers: Containers, vertex: Execute, workspace: Workspace, request: BuildRequest, reporter: Reporter
) -> int:
    """Runs the command; returns its exit status.

    What mounting had to make in the step's root is gone when this returns. Raises EngineError when the command can't
    be started; when cancelled, the process is gone before this is left.
    """
    if vertex.mounts or vertex.script:
        raise NotSupported("RUN --mount and here-documents that begin with #! are not supported yet")
    with merged_view(workspace.lowers) as root:
        stubs = find_stubs(root, TARGETS)
    reporter.running(vertex, secrets.token_hex(32))
    code = await containers.run_step(
        lowers=workspace.lowers,
        upper=workspace.upper,
        work=workspace.work,
        argv=vertex.argv,
        env=(*vertex.env, *vertex.transparent),
        cwd=vertex.cwd,
        user=vertex.user,
        network=vertex.network,
        extra_hosts=request.extra_hosts,
        shm_size=request.limits.shm_size or 64 << 20,
        output=lambda stream, data: reporter.output(vertex, stream, data),
    )
    with opened(workspace.upper) as upper:
        remove_stubs(upper, stubs)
    return code
