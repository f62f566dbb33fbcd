"""Start-up and repair are one path: open orders of our partitions that nobody here has in hand.

An intent or a doubt is asked about at the broker first; an acknowledged order is followed; a second
leg waits for its first, which is adopted beside it. A crash anywhere in here leaves the rows as they
were: the next look finds them again.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import structlog

from fanout.accounts import Accounts
from fanout.book import read_orders
from fanout.follow import Follower
from fanout.lanes import Job, Lanes
from fanout.leases import Leases
from fanout.order import Order, OrdState
from fanout.ports import BrokerAccount
from tenancy.clock import Clock
from tenancy.database import Database
from tenancy.scope import Actor, TenantScope
from tenancy.values import AccountID, TenantID

log = structlog.get_logger()

ADOPTER = Actor(kind="algo", id="adopter")


class Adopter:
    """Puts what is in nobody's hand into the lanes, or among what is followed."""

    def __init__(
        self,
        database: Database,
        leases: Leases,
        accounts: Accounts,
        lanes: Lanes,
        follower: Follower,
        clock: Clock,
    ) -> None:
        self._database = database
        self._leases = leases
        self._accounts = accounts
        self._lanes = lanes
        self._follower = follower
        self._clock = clock

    def __repr__(self) -> str:
        return f"Adopter({self._leases!r})"

    async def adopt(self) -> None:
        """Take in hand every open order of our partitions that no lane and no follower knows.

        After that a lane that had dropped what it had may send again: all of it is in its queue.
        """
        broken = self._lanes.broken()
        async with self._database.connection() as conn:
            rows = await (
                await conn.execute(
                    "SELECT cl_ord_id, tenant_id FROM find_open_orders(%s::smallint[])",
                    (self._leases.parts(),),
                )
            ).fetchall()
        by_tenant: dict[TenantID, list[str]] = {}
        for name, tenant in rows:
            if name not in self._lanes.known:
                by_tenant.setdefault(tenant, []).append(name)
        for tenant, names in by_tenant.items():
            scope = TenantScope(tenant_id=tenant, actor=ADOPTER)
            async with self._database.tenant(scope) as conn:
                orders = await read_orders(conn, names)
            accounts = await self._accounts.get(scope, {o.account_id for o, _ in orders})
            for order, cancel in orders:
                if order.account_id not in accounts:
                    log.error("account_of_an_order_is_missing", cl_ord_id=order.cl_ord_id)
                # Looked at again: a lane may have taken it while we were reading.
                elif order.cl_ord_id not in self._lanes.known and self._leases.holds(order.part):
                    self._take(scope, order, accounts, cancel=cancel)
        self._lanes.mended(broken)

    def _take(
        self,
        scope: TenantScope,
        order: Order,
        accounts: Mapping[AccountID, BrokerAccount],
        *,
        cancel: bool,
    ) -> None:
        job = Job(
            kind="resolve",
            scope=scope,
            account=accounts[order.account_id],
            order=order,
            epoch=self._leases.epoch(order.part),
            sent_by=self._clock.now(),
        )
        if order.state in (OrdState.INTENT, OrdState.IN_DOUBT):
            log.warning("order_adopted", cl_ord_id=order.cl_ord_id, state=order.state.value)
            self._lanes.put(job)
        elif order.state in (OrdState.NEW, OrdState.PARTIALLY_FILLED):
            self._follower.add(job)
            if cancel:  # at once; the follower repeats it until the order is final
                self._lanes.put(msgspec.structs.replace(job, kind="cancel"))
        # WAITING: its first leg, adopted beside it, releases or denies it.
