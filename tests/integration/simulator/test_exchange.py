"""The venue's own rules, on a clock that only the test moves: matching, reducing, forgetting, money."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.exchanges.gateio.exchange import Exchange
from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.orders import Arrival, Order, read_batch, read_order
from loadtest.exchanges.gateio.refusal import Refusal

D = Decimal
BTC = "BTC_USDT"


class Venue:
    """An exchange with a hand-moved clock and a shorthand for orders."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.exchange = Exchange(now=lambda: self.now, monotonic=lambda: self.now)

    def user(self, key: str = "a", balance: str = "1000000") -> Account:
        return self.exchange.open_account(key=key, secret="s", balance=D(balance))

    def send(self, user: Account, size: object, price: object = "0", **more: object) -> Order:
        tif = "ioc" if str(price) == "0" else "gtc"
        body = {"contract": BTC, "size": size, "price": price, "tif": tif, **more}
        arrival = Arrival(0, self.now, self.now)
        return self.exchange.place(user, read_order(msgspec.json.encode(body)), arrival)

    def refused(self, user: Account, size: object, price: object = "0", **more: object) -> str:
        with pytest.raises(Refusal) as refusal:
            self.send(user, size, price, **more)
        return refusal.value.label


@pytest.fixture
def venue() -> Venue:
    return Venue()


# ------------------------------------------------------------------ matching


def test_better_price_first_then_older_then_the_market_maker(venue):
    seller, buyer = venue.user("s"), venue.user("b")
    venue.exchange.set_price(BTC, D(60000), level_size=D(10))  # the maker asks 60000.1 and up
    second = venue.send(seller, -2, "60000.1")
    third = venue.send(seller, -2, "60000.1")
    first = venue.send(seller, -2, "60000")
    taker = venue.send(buyer, 7)
    assert [o.filled for o in (first, second, third)] == [2, 2, 2]
    assert [(t.price, t.size) for t in buyer.trades] == [
        (D("60000"), 2),
        (D("60000.1"), 2),
        (D("60000.1"), 2),
        (D("60000.1"), 1),
    ]
    assert taker.finish_as == "filled"
    assert venue.exchange.house.size_of(BTC) == -1


def test_a_market_order_larger_than_the_depth_fills_in_part_and_ends_as_ioc(venue):
    user = venue.user()
    venue.exchange.set_price(BTC, D(60000), levels=2, level_size=D(3))
    order = venue.send(user, 10)
    assert (order.finish_as, order.filled, order.left) == ("ioc", 6, 4)
    assert user.order_margin == 0


def test_a_limit_order_takes_what_crosses_and_rests_with_the_remainder(venue):
    user, other = venue.user("a"), venue.user("b")
    venue.exchange.set_price(BTC, D(60000), levels=0)
    venue.send(other, -3, "60010")
    order = venue.send(user, 5, "60020")
    assert (order.status, order.filled, order.left) == ("open", 3, 2)
    assert order.value / order.filled == D(60010)  # the older order's price
    venue.send(other, -2, "60020")
    assert (order.finish_as, order.left) == ("filled", 0)


def test_a_resting_order_fills_when_the_mark_moves_through_it(venue):
    user = venue.user()
    order = venue.send(user, 4, "59000")
    assert order.status == "open"
    assert venue.exchange.set_price(BTC, D("59500")) == 0
    assert venue.exchange.set_price(BTC, D("58000")) == 1
    assert (order.finish_as, order.value / order.filled) == ("filled", D(59000))
    assert [t.role for t in user.trades] == ["maker"]


def test_a_fill_or_kill_order_is_all_or_nothing(venue):
    user = venue.user()
    venue.exchange.set_price(BTC, D(60000), levels=1, level_size=D(5))
    assert venue.refused(user, 6, "60100", tif="fok") == "ORDER_FOK"
    assert venue.send(user, 5, "60100", tif="fok").finish_as == "filled"


def test_a_post_only_order_never_takes(venue):
    user = venue.user()
    assert venue.refused(user, 1, "60100", tif="poc") == "ORDER_POC_IMMEDIATE"
    assert venue.send(user, 1, "59999.9", tif="poc").status == "open"


def test_an_ioc_limit_order_away_from_the_market_ends_unfilled(venue):
    order = venue.send(venue.user(), 1, "59000", tif="ioc")
    assert (order.finish_as, order.filled) == ("ioc", 0)


def test_a_refused_order_leaves_nothing_behind(venue):
    user = venue.user(balance="1")
    assert venue.refused(user, 100) == "INSUFFICIENT_AVAILABLE"
    assert not venue.exchange.orders
    assert not user.open_orders
    assert (user.balance, user.order_margin) == (D(1), 0)


@pytest.mark.parametrize(
    ("size", "price", "label"),
    [
        (1_000_001, "0", "SIZE_TOO_LARGE"),
        ("1.5", "0", "INVALID_PARAM_VALUE"),
        (1, "60000.05", "INVALID_PARAM_VALUE"),
        (1, "10000", "PRICE_TOO_DEVIATED"),
    ],
)
def test_sizes_and_prices_are_checked(venue, size, price, label):
    assert venue.refused(venue.user(), size, price) == label


def test_an_unknown_contract_is_named(venue):
    assert venue.refused(venue.user(), 1, contract="XYZ_USDT") == "CONTRACT_NOT_FOUND"


def test_a_fractional_size_is_taken_where_the_contract_allows_it(venue):
    order = venue.send(venue.user(), "0.3", contract="SOL_USDT")
    assert (order.finish_as, order.size) == ("filled", D("0.3"))
    assert venue.refused(venue.exchange.accounts["a"], "0.35", contract="SOL_USDT")


def test_the_hundredth_and_first_open_order_is_too_many(venue):
    user = venue.user()
    for _ in range(100):
        venue.send(user, 1, "59000")
    assert venue.refused(user, 1, "59000") == "TOO_MANY_ORDERS"
    assert venue.send(user, 1).finish_as == "filled"


# ------------------------------------------------------------------ reduce only, close


def test_reduce_only_trades_the_position_and_not_more(venue):
    user = venue.user()
    venue.send(user, 5)
    order = venue.send(user, -8, reduce_only=True)
    assert (order.finish_as, order.filled, order.left) == ("reduce_only", 5, -3)
    assert user.size_of(BTC) == 0


def test_reduce_only_without_a_position_or_in_its_direction_is_refused(venue):
    user = venue.user()
    assert venue.refused(user, -1, reduce_only=True) == "REDUCE_EXCEEDED"
    venue.send(user, 5)
    assert venue.refused(user, 1, reduce_only=True) == "INCREASE_POSITION"


def test_a_resting_reduce_only_order_ends_with_the_position(venue):
    user = venue.user()
    venue.send(user, 5)
    target = venue.send(user, -5, "61000", reduce_only=True)
    venue.send(user, 0, close=True)
    assert (target.finish_as, target.filled, user.size_of(BTC)) == ("reduce_only", 0, 0)
    assert venue.exchange.set_price(BTC, D(62000)) == 0


def test_two_resting_reduce_only_orders_cannot_turn_the_position(venue):
    user = venue.user()
    venue.send(user, 5)
    orders = [venue.send(user, -4, "61000", reduce_only=True) for _ in range(2)]
    venue.exchange.set_price(BTC, D(62000))
    assert [(o.filled, o.finish_as) for o in orders] == [(4, "filled"), (1, "reduce_only")]
    assert user.size_of(BTC) == 0


def test_a_taker_meets_reduce_only_orders_no_further_than_their_positions(venue):
    holder, taker = venue.user("h"), venue.user("t")
    venue.send(holder, 5)
    for _ in range(2):
        venue.send(holder, -4, "60500", reduce_only=True)
    venue.exchange.set_price(BTC, D(60000), levels=0)
    order = venue.send(taker, 8)
    assert (order.filled, holder.size_of(BTC), taker.size_of(BTC)) == (5, 0, 5)
    assert not holder.open_orders


# ------------------------------------------------------------------ text and memory


def text_of(venue: Venue, user: Account, text: str) -> Order:
    return venue.exchange.find(user, text)


def gone(venue: Venue, user: Account, ident: object) -> bool:
    with pytest.raises(Refusal) as refusal:
        venue.exchange.find(user, str(ident))
    return refusal.value.label == "ORDER_NOT_FOUND"


def test_a_later_order_with_the_same_text_is_accepted_and_hides_the_earlier(venue):
    user = venue.user()
    first, second = venue.send(user, 1, text="t-same"), venue.send(user, 2, text="t-same")
    assert text_of(venue, user, "t-same") is second
    assert venue.exchange.find(user, str(first.id)) is first
    assert user.size_of(BTC) == 3


def test_cancelled_unfilled_is_found_by_text_for_60_s_and_by_id_for_600_s(venue):
    user = venue.user()
    order = venue.send(user, 1, "59000", text="t-rest")
    venue.now += 3600
    venue.exchange.cancel(user, "t-rest")
    venue.now += 60
    assert text_of(venue, user, "t-rest") is order
    venue.now += 0.5
    assert gone(venue, user, "t-rest")
    assert venue.exchange.find(user, str(order.id)) is order
    assert venue.exchange.list_orders(user, "finished", None) == [order]
    venue.now += 540
    assert gone(venue, user, order.id)
    assert venue.exchange.list_orders(user, "finished", None) == []
    assert venue.exchange.orders == [order]  # the auditor forgets nothing


def test_open_and_filled_orders_are_found_for_ever(venue):
    user = venue.user()
    venue.exchange.set_price(BTC, D(60000), levels=1, level_size=D(1))
    filled = venue.send(user, 1, text="t-filled")
    partly = venue.send(user, 3, text="t-partly")
    resting = venue.send(user, 1, "59000", text="t-open")
    assert (partly.finish_as, partly.filled) == ("ioc", 1)
    venue.now += 1e7
    for order in (filled, partly, resting):
        assert text_of(venue, user, order.text) is order


def test_another_users_order_is_not_found(venue):
    owner, other = venue.user("a"), venue.user("b")
    order = venue.send(owner, 1, "59000", text="t-mine")
    assert gone(venue, other, order.id)
    assert gone(venue, other, "t-mine")


def test_a_finished_order_cannot_be_cancelled(venue):
    user = venue.user()
    venue.send(user, 1, text="t-done")
    with pytest.raises(Refusal, match="ORDER_FINISHED"):
        venue.exchange.cancel(user, "t-done")


@pytest.mark.parametrize("text", ["t-" + "a" * 28, "t-A.b_c-9"])
def test_a_text_by_the_rules_is_taken(venue, text):
    assert venue.send(venue.user(), 1, text=text).text == text


@pytest.mark.parametrize("text", ["x-1", "t-", "t-" + "a" * 29, "t-a b", "t-ü", "t-a\n", "T-1"])
def test_a_text_against_the_rules_is_refused(venue, text):
    assert venue.refused(venue.user(), 1, text=text) == "INVALID_PARAM_VALUE"


# ------------------------------------------------------------------ requests


@pytest.mark.parametrize(
    ("body", "label"),
    [
        (b"{", "INVALID_REQUEST_BODY"),
        (b'{"size":1}', "MISSING_REQUIRED_PARAM"),
        (b'{"contract":"BTC_USDT","price":"0","tif":"ioc"}', "MISSING_REQUIRED_PARAM"),
        (b'{"contract":"BTC_USDT","size":"NaN","price":"0","tif":"ioc"}', "INVALID_PARAM_VALUE"),
        (b'{"contract":"BTC_USDT","size":1,"price":"0"}', "INVALID_PARAM_VALUE"),
        (b'{"contract":"BTC_USDT","size":1,"price":"1","tif":"day"}', "INVALID_PARAM_VALUE"),
        (b'{"contract":"BTC_USDT","size":0,"price":"1"}', "INVALID_PARAM_VALUE"),
        (b'{"contract":"BTC_USDT","size":1,"price":"-1"}', "INVALID_PARAM_VALUE"),
    ],
)
def test_a_malformed_order_is_refused_with_gates_label(body, label):
    with pytest.raises(Refusal) as refusal:
        read_order(body)
    assert (refusal.value.label, refusal.value.status) == (label, 400)


def test_sizes_may_be_numbers_or_strings():
    bodies = (b"3", b'"3"', b"3.0")
    sizes = [
        read_order(b'{"contract":"C","price":"0","tif":"ioc","size":' + b + b"}").size
        for b in bodies
    ]
    assert sizes == [3, 3, 3]


def test_a_batch_of_eleven_is_refused():
    one = b'{"contract":"C","size":1,"price":"0","tif":"ioc"}'
    assert len(read_batch(b"[" + b",".join([one] * 10) + b"]")) == 10
    with pytest.raises(Refusal):
        read_batch(b"[" + b",".join([one] * 11) + b"]")


# ------------------------------------------------------------------ money


def test_profit_fee_and_entry_price_by_hand(venue):
    """10 contracts of 0.0001 BTC: bought at 60000.1, half sold at 60999.9."""
    user = venue.user(balance="1000")
    venue.send(user, 10)
    venue.exchange.set_price(BTC, D(61000))
    assert user.unrealised(venue.exchange.marks) == D("0.9999")
    venue.send(user, -5)
    position = user.positions[BTC, "single"]
    assert (position.size, position.entry_price) == (5, D("60000.1"))
    assert position.realised_pnl == 5 * D("0.0001") * (D("60999.9") - D("60000.1"))
    fees = D("0.0005") * D("0.0001") * (10 * D("60000.1") + 5 * D("60999.9"))
    assert user.fees == fees
    assert user.balance == 1000 + position.realised_pnl - fees
    assert position.update_id == 2


def test_a_turned_position_takes_the_new_price(venue):
    user = venue.user()
    venue.send(user, 2)
    venue.exchange.set_price(BTC, D(50000))
    venue.send(user, -5)
    position = user.positions[BTC, "single"]
    assert (position.size, position.entry_price) == (-3, D("49999.9"))


def test_margin_is_held_for_resting_orders_and_given_back(venue):
    user = venue.user(balance="1000")
    before = user.available(venue.exchange.marks)
    order = venue.send(user, 10, "59000")
    held = 10 * D("0.0001") * D(59000) * (D("0.1") + D("0.0005"))
    assert before - user.available(venue.exchange.marks) == held
    venue.exchange.cancel(user, str(order.id))
    assert user.available(venue.exchange.marks) == before


steps = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(-20, 20).filter(bool),
        st.sampled_from(["0", "59990", "59999.9", "60000", "60000.1", "60010"]),
        st.booleans(),
        st.integers(-20, 20),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_nothing_is_created_or_lost(steps):
    """Contracts, fills, margins and money add up whatever is sent, the market maker included."""
    venue = Venue()
    exchange = venue.exchange
    users = [venue.user(str(n), "1000") for n in range(3)]
    exchange.set_price(BTC, D(60000), levels=2, level_size=D(15))
    for who, size, price, reduce_only, move in steps:
        try:
            venue.send(users[who], size, price, reduce_only=reduce_only)
        except Refusal:
            pass
        exchange.set_price(BTC, D(60000) + move)

    everyone = [*users, exchange.house]
    assert sum(a.size_of(BTC) for a in everyone) == 0
    for user in users:
        assert sum(t.size for t in user.trades) == user.size_of(BTC)
        assert sum(o.size - o.left for o in user.orders) == user.size_of(BTC)
        held = sum(o.margin_each * abs(o.left) for o in user.open_orders.values())
        assert abs(user.order_margin - held) < D("1e-15")
        assert set(user.open_orders) == {o.id for o in user.orders if o.status == "open"}
        assert all(o.left * o.size >= 0 and abs(o.left) <= abs(o.size) for o in user.orders)
    resting = {order.id for order in exchange.books[BTC].resting()}
    assert resting == {i for user in users for i in user.open_orders}
    wealth = sum(a.balance + a.unrealised(exchange.marks) for a in everyone)
    assert abs(wealth + sum(u.fees for u in users) - 3000) < D("1e-15")
