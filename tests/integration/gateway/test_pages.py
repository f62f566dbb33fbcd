"""Pages of trading: every filter finds exactly its rows, once each, whatever arrives meanwhile, in one tenant."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from gateway.admin import order_pages, pages
from tenancy.ids import new_id
from tests.fakes.trading import BEGIN, Market, Ordered, add_signal, open_market
from tests.fixtures.api import Api, Client

pytestmark = pytest.mark.stack

Fits = Callable[[Ordered], bool]


@pytest.fixture
def markets(api: Api) -> tuple[Market, Market]:
    """Two tenants that traded the same tickers."""
    chance = random.Random(3)
    with psycopg.connect(api.database.superuser) as conn:
        made = [open_market(conn, api.tenant(name)) for name in ("admin", "other")]
        for market in made:
            for _ in range(40):
                add_signal(conn, market, chance)
    return made[0], made[1]


async def follow(client: Client, path: str, *, limit: int = 7) -> list[Any]:
    """All items, page after page."""
    items: list[Any] = []
    cursor = ""
    for _ in range(500):
        page = await client.get(f"{path}&limit={limit}{cursor}".replace("?&", "?"))
        assert len(page["items"]) <= limit
        items += page["items"]
        if "next" not in page:
            return items
        cursor = f"&cursor={page['next']}"
    raise AssertionError("the pages do not end")


def questions(market: Market) -> dict[str, list[tuple[str, Fits]]]:
    """Each filter of orders with some values, and which orders they mean."""
    middle, later = BEGIN + timedelta(minutes=10), BEGIN + timedelta(minutes=30)
    return {
        "status": [(f"status={s}", lambda o, s=s: o.state == s) for s in ("filled", "rejected", "new")],
        "symbol": [(f"symbol={s}", lambda o, s=s: o.symbol == s) for s in ("BTC_A", "NONE")],
        "ticker": [(f"ticker={t}", lambda o, t=t: o.signal.ticker == t) for t in ("BTC", "NONE")],
        "account": [
            (f"account_id={a}", lambda o, a=a: o.account_id == a) for a in (market.accounts[0], new_id())
        ],
        "strategy": [
            (f"strategy_id={s}", lambda o, s=s: o.signal.strategy_id == s) for s in market.strategies[:1]
        ],
        "time": [
            (
                f"since={quote(middle.isoformat())}&until={quote(later.isoformat())}",
                lambda o: middle <= o.signal.at < later,
            ),
            (f"until={quote(middle.isoformat())}", lambda o: o.signal.at < middle),
        ],
    }  # fmt: skip


@pytest.mark.parametrize("bound", ["as shipped", "tiny windows"])
async def test_every_combination_of_filters_finds_exactly_its_orders_newest_first(
    api: Api, markets: tuple[Market, Market], bound: str, monkeypatch: pytest.MonkeyPatch
):
    """Compared with a plain loop over what was written; with windows so small that pages come short."""
    if bound == "tiny windows":
        monkeypatch.setattr(pages, "LOOKED_AT_MAX", 9)
        monkeypatch.setattr(order_pages, "SIGNALS_AT_ONCE", 3)
    client, market = api.as_("admin"), markets[0]
    asked = questions(market)
    combinations = [
        choice
        for count in range(4)
        for names in itertools.combinations(asked, count)
        for choice in itertools.product(*(asked[name] for name in names))
    ]
    chance = random.Random(11)
    for choice in chance.sample(combinations, 60) + [
        (one,) for many in asked.values() for one in many
    ]:
        path = "/v1/orders?" + "&".join(text for text, _ in choice)
        wanted = [o for o in market.orders if all(fits(o) for _, fits in choice)]
        wanted.sort(key=lambda order: order.key, reverse=True)
        found = await follow(
            client, path, limit=chance.choice([1, 3, 7, 100]) if bound == "as shipped" else 4
        )
        assert [item["cl_ord_id"] for item in found] == [o.cl_ord_id for o in wanted], path


async def test_what_was_there_comes_once_while_more_arrives_and_moves(
    api: Api, markets: tuple[Market, Market]
):
    """Signals older and newer than the reader's place arrive between its pages, and orders change."""
    client, market = api.as_("admin"), markets[0]
    for path, fits in (
        ("/v1/orders?", lambda o: True),
        ("/v1/orders?symbol=BTC_A", lambda o: o.symbol == "BTC_A"),
        (f"/v1/orders?strategy_id={market.strategies[0]}", lambda o: o.signal.strategy_id == market.strategies[0]),
    ):  # fmt: skip
        before = {o.cl_ord_id for o in market.orders if fits(o)}
        done = asyncio.Event()
        writing = asyncio.create_task(asyncio.to_thread(_write_on, api, market, done))
        found: list[str] = []
        page = await client.get(f"{path}&limit=5".replace("?&", "?"))
        while True:
            found += [item["cl_ord_id"] for item in page["items"]]
            if "next" not in page:
                break
            await asyncio.sleep(0.005)
            page = await client.get(f"{path}&limit=5&cursor={page['next']}".replace("?&", "?"))
        done.set()
        await writing
        assert len(found) == len(set(found))
        assert before <= set(found)


def _write_on(api: Api, market: Market, done: asyncio.Event) -> None:
    chance = random.Random(len(market.signals))
    with psycopg.connect(api.database.superuser, autocommit=True) as conn:
        while not done.is_set():
            add_signal(conn, market, chance, at=BEGIN + timedelta(seconds=chance.randrange(7200)))
            one = chance.choice(market.orders).cl_ord_id
            conn.execute(
                "UPDATE orders SET intent_at = now(), text = 'moved' WHERE cl_ord_id = %s", (one,)
            )


async def test_signals_and_fills_are_filtered_and_paged_alike(
    api: Api, markets: tuple[Market, Market]
):
    client, market = api.as_("admin"), markets[0]
    newest = sorted(market.signals, key=lambda s: s.signal_id, reverse=True)
    strategy = market.strategies[1]
    for query, fits in (
        ("", lambda s: True),
        ("status=refused", lambda s: s.state == "refused"),
        ("status=planned&ticker=ETH", lambda s: (s.state, s.ticker) == ("planned", "ETH")),
        (
            f"ticker=BTC&strategy_id={strategy}",
            lambda s: (s.ticker, s.strategy_id) == ("BTC", strategy),
        ),
        (f"strategy_id={strategy}", lambda s: s.strategy_id == strategy),
    ):
        found = await follow(client, f"/v1/signals?{query}")
        assert [s["signal_id"] for s in found] == [str(s.signal_id) for s in newest if fits(s)], (
            query
        )
    filled = [o for o in market.orders if o.state == "filled"]
    account = market.accounts[1]
    for query, fits in (
        ("", lambda o: True),
        (f"account_id={account}", lambda o: o.account_id == account),
        ("symbol=ETH_B", lambda o: o.symbol == "ETH_B"),
        (
            f"ticker=XRP&account_id={account}",
            lambda o: (o.signal.ticker, o.account_id) == ("XRP", account),
        ),
        (f"strategy_id={strategy}", lambda o: o.signal.strategy_id == strategy),
        (f"signal_id={filled[0].signal.signal_id}", lambda o: o.signal == filled[0].signal),
    ):
        found = await follow(client, f"/v1/fills?{query}")
        names = sorted(f"{o.cl_ord_id}:{part}" for o in filled if fits(o) for part in (1, 2))
        assert sorted(f["exec_id"] for f in found) == names, query
        assert [f["at"] for f in found] == sorted((f["at"] for f in found), reverse=True)


async def test_another_tenants_names_find_nothing(api: Api, markets: tuple[Market, Market]):
    client, theirs = api.as_("admin"), markets[1]
    order = theirs.orders[0]
    for query in (
        f"account_id={order.account_id}", f"strategy_id={order.signal.strategy_id}",
        f"signal_id={order.signal.signal_id}",
    ):  # fmt: skip
        for path in ("/v1/orders", "/v1/fills"):
            assert (await client.get(f"{path}?{query}")) == {"items": []}
    for path in (f"/v1/signals/{order.signal.signal_id}", f"/v1/plans/{order.signal.signal_id}"):
        assert (await client("GET", path)).status == 404
    ours = {str(o.signal.signal_id) for o in markets[0].orders}
    assert {item["signal_id"] for item in await follow(client, "/v1/orders?")} == ours


async def test_a_cursor_of_another_tenant_opens_nothing(api: Api, markets: tuple[Market, Market]):
    """It is a place in an order of ids, not a right: both see their own rows behind it."""
    page = await api.as_("other").get("/v1/orders?limit=1")
    theirs = {str(o.signal.signal_id) for o in markets[1].orders}
    found = (await api.as_("admin").get(f"/v1/orders?cursor={page['next']}"))["items"]
    assert not {item["signal_id"] for item in found} & theirs


async def test_decimals_are_exact_text_and_names_are_snake_case(
    api: Api, markets: tuple[Market, Market]
):
    order = next(o for o in markets[0].orders if o.state == "filled")
    story = await api.as_("admin").get(f"/v1/orders/{order.cl_ord_id.split('.')[0]}")
    (attempt,) = story["attempts"]
    assert (attempt["price"], attempt["order_qty"], attempt["status"]) == ("0.1", "2", "filled")
    assert [r["last_qty"] for r in sorted(attempt["reports"], key=lambda r: r["exec_id"])] == [
        "1",
        "1",
    ]


async def test_positions_show_what_is_open_and_on_request_what_is_flat(
    api: Api, markets: tuple[Market, Market]
):
    market, client = markets[0], api.as_("admin")
    with psycopg.connect(api.database.superuser) as conn:
        for number, account in enumerate(market.accounts):
            for symbol in ("A", "B"):
                conn.execute(
                    "INSERT INTO positions VALUES (%s, %s, %s, %s, %s, 1.50, now())",
                    (account, market.strategies[0], symbol, market.tenant_id, number),
                )
            conn.execute(
                "INSERT INTO balances VALUES (%s, %s, 1000.10, 900, 'USDT', now())",
                (account, market.tenant_id),
            )
    held = await follow(client, "/v1/positions?", limit=2)
    assert {(p["account_id"], p["symbol"]) for p in held} == {
        (str(a), s) for a in market.accounts[1:] for s in "AB"
    }
    assert {p["avg_px"] for p in held} == {"1.5"}
    assert len(await follow(client, "/v1/positions?flat=true", limit=3)) == 8
    one = await follow(client, f"/v1/positions?account_id={market.accounts[2]}&symbol=B")
    assert [(p["symbol"], p["qty"]) for p in one] == [("B", "2")]
    balances = await follow(client, "/v1/balances?", limit=3)
    assert [b["equity"] for b in balances] == ["1000.1"] * 4
    for path in ("/v1/positions?flat=true", "/v1/balances?"):
        assert await follow(api.as_("other"), path) == []


@pytest.mark.parametrize(
    "query",
    [
        "status=done", "symbol=", "symbol=a%00b", "account_id=x", "since=yesterday", "since=2026-01-01T00:00:00",
        "cursor=W10", "cursor=WzEsMiwzLDRd", "cursor=%00", "limit=0", "limit=101", "colour=red",
        "cursor=WyIwMTliNzZlMS0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDAiLCIwMTliNzZlMS0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDAiLDAsOTk5OTld",
    ],
)  # fmt: skip
async def test_nonsense_is_refused_with_its_name(api: Api, query: str):
    reply = await api.as_("admin")("GET", f"/v1/orders?{query}")
    assert (reply.status, reply.json()["code"]) == (422, "invalid")


@pytest.mark.parametrize(
    "query",
    ["since=0001-01-01T00:00:00Z", "until=9999-12-31T23:59:59Z", "since=9999-12-31T23:59:59Z"],
)
async def test_times_at_the_ends_of_the_calendar_are_times(api: Api, query: str):
    for path in ("/v1/orders", "/v1/fills", "/v1/signals"):
        assert (await api.as_("admin").get(f"{path}?{query}")) == {"items": []}
