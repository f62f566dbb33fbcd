"""What an account has used of its limits now: the numbers that the next plan would go by, and the limits.

The same reading as a plan's (fanout/usage.py), without its turn: what is planned and not in the book
yet is not in it. Limits are those of all layers but the strategies', or with `strategy_id` as they
hold for that strategy. What depends on prices is null where none are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import ROUND_UP, Decimal
from uuid import UUID

import msgspec

from fanout.exposure import Book, LotOf, Reach, loss_today, reach, result_today, risk_open, worth
from fanout.market import Instruments
from fanout.trading_day import began, day_of
from fanout.usage import MINUTE, Lots, Needs, read_books
from gateway.admin.operation import Call, Operation, Result
from tenancy.account import Account
from tenancy.database import Connection
from tenancy.errors import NotFound
from tenancy.limits import EffectiveLimits, Limit, Limits, LimitSource, tightest
from tenancy.store.snapshots import read_accounts, read_platform
from tenancy.tenant import TenantSettings
from tenancy.values import AccountID, StrategyID, plain


class UsageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """As whom to look."""

    strategy_id: UUID | None = None
    """With this strategy's own limits as a layer."""


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """Of one limit. `used` null: cannot be told, and what would open is refused where there is a limit.
    `limit` null: no layer sets one."""

    used: str | None
    limit: str | None
    source: LimitSource | None


class UsedPosition(msgspec.Struct, frozen=True, kw_only=True):
    """Of one symbol, in lots. `net`: what all strategies hold or are about to. `long`, `short`: how far that
    may go, if what rests fills, what closes fails, and one strategy closes what another holds against."""

    symbol: str
    net: str
    long: str
    short: str
    quantity: Used
    notional: Used


class AccountUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Money in `currency`. A loss is a number above zero."""

    account_id: UUID
    currency: str
    as_of: datetime
    trading_day: date
    trading_day_began_at: datetime
    orders_last_minute: Used
    daily_loss: Used
    realised_today: str | None
    unrealised: str | None
    risk_open: str | None
    """What the stops that are set may still lose: of a day's limit this is taken as well."""
    equity: str | None
    worth: str | None
    """Of all positions, each at its larger side."""
    leverage: Used
    positions: list[UsedPosition]


_LAYERS = """
SELECT t.limits::text, t.settings::text,
       (SELECT g.limits::text FROM account_groups g WHERE g.group_id = %(group)s),
       (SELECT s.limits::text FROM strategies s WHERE s.strategy_id = %(strategy)s),
       (SELECT b.equity FROM balances b WHERE b.account_id = %(account)s AND b.currency = %(currency)s)
FROM tenants t WHERE t.tenant_id = %(tenant)s"""


async def read(conn: Connection, call: Call, account_id: UUID, query: UsageQuery) -> AccountUsage:
    """Raises NotFound for an account or a strategy of nobody in this tenant."""
    account = await _account(conn, account_id)
    limits, tenant, equity = await _terms(conn, call, account, query)
    now = call.services.clock.now()
    day = day_of(tenant.trading_day, now)
    books, counts = await read_books(
        conn,
        [(account, Needs(lots=True, money=True, rate=True), None)],
        day=day,
        since=now - MINUTE,
    )
    book = books.get(account.account_id, Book())
    lot_of = Lots(await _instruments(call), tenant.fx_rates).of(account)
    reached = reach(book.held, book.pending)
    realised, unrealised = result_today(book, lot_of)
    whole = worth(reached, lot_of)
    return AccountUsage(
        account_id=account_id,
        currency=account.currency,
        as_of=now,
        trading_day=day,
        trading_day_began_at=began(tenant.trading_day, day),
        orders_last_minute=_used(
            Decimal(counts.get(account.account_id, 0)), limits.max_orders_per_minute
        ),
        daily_loss=_used(loss_today(book, lot_of), limits.max_daily_loss),
        realised_today=_text(realised),
        unrealised=_text(unrealised),
        risk_open=_text(risk_open(book.pending, lot_of)),
        equity=_text(equity),
        worth=_text(whole),
        leverage=_used(leverage_of(whole, equity), limits.max_leverage),
        positions=positions(reached, limits, lot_of),
    )


def positions(
    reached: Mapping[tuple[StrategyID, str], Reach], limits: EffectiveLimits, lot_of: LotOf
) -> list[UsedPosition]:
    """Each symbol in which the account holds anything, or may come to. Pure."""
    found = []
    for symbol in sorted({symbol for _, symbol in reached}):
        all_of_it = [one for (_, other), one in reached.items() if other == symbol]
        long = sum((one.long for one in all_of_it), Decimal(0))
        short = sum((one.short for one in all_of_it), Decimal(0))
        lot = lot_of(symbol)
        larger = max(long, short)
        found.append(
            UsedPosition(
                symbol=symbol,
                net=plain(sum((one.expected for one in all_of_it), Decimal(0))),
                long=plain(long),
                short=plain(short),
                quantity=_used(larger, limits.max_position_quantity),
                notional=_used(
                    None if lot is None else larger * lot.price * lot.point,
                    limits.max_position_notional,
                ),
            )
        )
    return found


async def _account(conn: Connection, account_id: UUID) -> Account:
    found = await read_accounts(conn, [AccountID(account_id)])
    if not found:
        raise NotFound(f"no account {account_id} in this tenant")
    return found[0]


async def _terms(
    conn: Connection, call: Call, account: Account, query: UsageQuery
) -> tuple[EffectiveLimits, TenantSettings, Decimal | None]:
    """The limits that hold, the tenant's settings, the account's equity."""
    asked = {
        "group": account.group_id, "strategy": query.strategy_id, "account": account.account_id,
        "currency": account.currency, "tenant": call.scope.tenant_id,
    }  # fmt: skip
    row = await (await conn.execute(_LAYERS, asked)).fetchone()
    assert row is not None
    tenant, settings, group, strategy, equity = row
    if query.strategy_id is not None and strategy is None:
        raise NotFound(f"no strategy {query.strategy_id} in this tenant")
    limits = tightest(
        (
            ("platform", (await read_platform(conn)).limits),
            ("tenant", _limits(tenant)),
            ("strategy", _limits(strategy)),
            ("group", _limits(group)),
            ("account", account.limits),
        )
    )
    said = msgspec.json.decode(settings, type=TenantSettings)
    return limits, said, equity if equity is not None else account.stated_equity


def _limits(text: str | None) -> Limits:
    return Limits() if text is None else msgspec.json.decode(text, type=Limits)


async def _instruments(call: Call) -> Mapping[str, Instruments]:
    """With the prices that workers last saw, while they are fresh: this process has no broker to ask."""
    return (await call.services.pictures.read(call.conn)).by_broker()


def leverage_of(worth: Decimal | None, equity: Decimal | None) -> Decimal | None:
    """Pure. Rounded up to four places; null without equity."""
    if worth is None or equity is None or equity <= 0:
        return None
    return (worth / equity).quantize(Decimal("0.0001"), rounding=ROUND_UP)


def _used(used: Decimal | None, limit: Limit[Decimal] | Limit[int] | None) -> Used:
    return Used(
        used=_text(used),
        limit=None if limit is None else plain(Decimal(limit.value)),
        source=None if limit is None else limit.source,
    )


def _text(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


async def _usage(call: Call) -> Result:
    return Result(content=await read(call.conn, call, call.uuid("account_id"), call.query))


OPERATIONS = (
    Operation(
        name="get_account_usage", method="GET", path="/v1/accounts/{account_id}/usage", tag="Limits",
        action="positions:read", handle=_usage, query=UsageQuery, answer=AccountUsage,
        summary="What an account has used of its limits now, each with the limit and its layer.",
        problems=("not_found",),
    ),
)  # fmt: skip
