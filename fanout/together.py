"""Signals of one tenant that wait for their plan go into one transaction: group commit, as the learner's.

While a group is under way whoever comes gathers, for WAIT_S at most; when idle a signal is planned at once.
A burst of many strategies (they like the ends of minutes) so costs a few transactions, not one for each.

Who comes here holds its strategy's turn among the tasks of this process (fanout/turn.py, Queues). So of all
that wait no two are of one strategy, and none is another's neighbour, as far as we know: their plans do not
depend on one another.

A group in which something fails is planned one by one, so that only the signal it means fails.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

import structlog

from fanout.planned import NotPlanned, Planned
from fanout.planner import Wanted
from fanout.trace import outside
from tenancy.errors import OutcomeUnknown, Unavailable
from tenancy.scope import TenantScope
from tenancy.values import TenantID

log = structlog.get_logger()

MOST = 16
"""Signals in a transaction: what is first on the wire waits for the decisions about all of them."""
GROUPS = 4
"""Transactions of one tenant under way at a time, each with a database connection."""
WAIT_S = 0.05
"""So long whoever waits lets the group before be alone; one that itself waits for another worker's turn must not
hold up the tenant's other strategies."""

Made = Planned | NotPlanned
Plan = Callable[[TenantScope, Sequence[Wanted]], Awaitable[list[Made]]]
_Waiting = tuple[Wanted, "asyncio.Future[Made]"]


class Together:
    """The one way from a strategy's task to a plan that need not wait for others."""

    def __init__(self, plan: Plan) -> None:
        """`plan` is one transaction (Planner.plan)."""
        self._plan = plan
        self._waiting: dict[TenantID, list[_Waiting]] = defaultdict(list)
        self._groups: dict[TenantID, set[asyncio.Task[None]]] = defaultdict(set)

    def __repr__(self) -> str:
        return f"Together(waiting={sum(map(len, self._waiting.values()))})"

    async def plan(self, scope: TenantScope, wanted: Wanted) -> Made:
        """What became of it, when it is committed. Raises what `plan` raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Made] = loop.create_future()
        self._waiting[scope.tenant_id].append((wanted, future))
        if scope.tenant_id not in self._groups:
            self._begin(scope)
            return await future
        later = loop.call_later(WAIT_S, self._begin, scope)
        try:
            return await future
        finally:
            later.cancel()

    def _begin(self, scope: TenantScope) -> None:
        """A group more, where somebody waits and there may be one."""
        groups = self._groups[scope.tenant_id]
        if scope.tenant_id in self._waiting and len(groups) < GROUPS:
            groups.add(asyncio.create_task(self._work(scope), context=outside()))

    async def _work(self, scope: TenantScope) -> None:
        """Groups, until nobody waits."""
        tenant, task = scope.tenant_id, asyncio.current_task()
        assert task is not None
        try:
            while waiting := self._waiting.pop(tenant, []):
                group = waiting[:MOST]
                if later := waiting[MOST:]:
                    self._waiting[tenant] = later
                await self._group(scope, group)
        finally:
            # No await since the last look: who comes later begins a group of its own.
            self._groups[tenant].discard(task)
            if not self._groups[tenant]:
                del self._groups[tenant]

    async def _group(self, scope: TenantScope, group: Sequence[_Waiting]) -> None:
        try:
            made = await self._plan(scope, [wanted for wanted, _ in group])
        except (Unavailable, OutcomeUnknown) as error:  # of all of them: the sweep comes again
            for _, future in group:
                _tell(future, error)
        except Exception as error:
            if len(group) == 1:
                _tell(group[0][1], error)
                return
            log.info("planned_one_by_one", signals=len(group), why=type(error).__name__)
            for one in group:
                await self._group(scope, [one])
        except BaseException:
            for _, future in group:
                future.cancel()
            raise
        else:
            for (_, future), one_made in zip(group, made, strict=True):
                _tell(future, one_made)


def _tell(future: asyncio.Future[Made], word: Made | Exception) -> None:
    if future.done():
        return
    if isinstance(word, Exception):
        future.set_exception(word)
    else:
        future.set_result(word)
