"""The operation that shows how this installation is; what it shows is gateway/admin/platform_state.py's."""

from __future__ import annotations

from gateway.admin.operation import Call, Operation, Result
from gateway.admin.platform_state import PlatformState
from tenancy.errors import Unavailable


async def _show(call: Call) -> Result:
    """Raises Unavailable where this process was started without what looks."""
    if call.services.state is None:
        raise Unavailable("this process was not told how to look at its host")
    return Result(content=await call.services.state())


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="get_platform_state", method="GET", path="/v1/platform/state", tag="Tenants",
        action="tenants:read", handle=_show, answer=PlatformState, platform=True,
        summary="How this host is: processes, queues, HSM, brokers, clock, certificates, capacity.",
        detail="Of the host whose management listener answers. What it cannot see is in `unknown`, with the"
        " reason.",
        problems=("unavailable",),
    ),
)  # fmt: skip
