"""The two rules of inheritance, against oracles that share nothing with the code."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tenancy.effective import Wanted, effective, resolve, unresolvable
from tenancy.limits import NUMBERS, OF_THE_STRATEGY, Limits, tightest
from tenancy.protection import StopLoss, TakeProfit
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings

maybe_bool = st.sampled_from([None, True, False])
orders = st.sampled_from([None, "market", "limit"])
times = st.sampled_from([None, "day", "gtc", "ioc"])
profits = st.sampled_from([None, TakeProfit(percent=Decimal(1)), TakeProfit(amount=Decimal(2))])
stops = st.sampled_from([None, StopLoss(percent=Decimal(3))])
directions = st.sampled_from([None, "both", "long", "short"])
tickers = st.sampled_from([None, (), ("BTC",), ("BTC", "ETH")])
quantities = st.sampled_from(
    [(None, None), (Decimal(2), None), (Decimal(3), "dollar_amount"), (Decimal(4), "multiplier")]
)
plain_quantities = st.sampled_from([(None, None), (Decimal(5), None), (Decimal(6), "risk_percent")])

VALUES = {
    "order_type_entry": orders, "order_type_exit": orders, "time_in_force_entry": times,
    "time_in_force_exit": times, "take_profit": profits, "stop_loss": stops,
}  # fmt: skip
OTHERS = {"direction": directions, "tickers_allowed": tickers, "needs_approval": maybe_bool}


@st.composite
def owns(draw: st.DrawFn) -> SubscriptionSettings:
    quantity, kind = draw(quantities)
    members = {f"override_{name}": draw(values) for name, values in VALUES.items()}
    members |= {f"use_signal_{name}": draw(maybe_bool) for name in [*VALUES, "quantity"]}
    members |= {name: draw(values) for name, values in OTHERS.items()}
    return SubscriptionSettings(override_quantity=quantity, override_quantity_type=kind, **members)


@st.composite
def strategies(draw: st.DrawFn) -> StrategySettings:
    quantity, kind = draw(plain_quantities)
    members = {f"default_{name}": draw(values) for name, values in VALUES.items()}
    members |= {name: draw(values) for name, values in OTHERS.items()}
    return StrategySettings(default_quantity=quantity, default_quantity_type=kind, **members)


PRODUCT = {
    "order_type_entry": "market", "order_type_exit": "market", "time_in_force_entry": "gtc",
    "time_in_force_exit": "gtc", "take_profit": None, "stop_loss": None, "direction": "both",
    "tickers_allowed": (), "needs_approval": False,
}  # fmt: skip


def table(strategy, group, own, name):
    """All layers written down, least specific first; whoever is set last has the word."""
    rows = [("product", PRODUCT[name])]
    default = getattr(strategy, f"default_{name}" if name in VALUES else name)
    rows += [("strategy", default)] if default is not None else []
    for source, layer in (("group", group), ("subscription", own)):
        value = layer and getattr(layer, f"override_{name}" if name in VALUES else name)
        rows += [(source, value)] if value is not None else []
    return rows[-1]


@given(strategies(), st.none() | owns(), owns())
def test_the_most_specific_layer_that_says_something_has_the_word(strategy, group, own):
    resolved = resolve(strategy, group, own, asset_class="crypto")
    for name in [*VALUES, *OTHERS]:
        chosen = getattr(resolved, name)
        assert (chosen.source, chosen.value) == table(strategy, group, own, name)


@given(strategies(), st.none() | owns(), owns())
def test_a_quantity_and_its_type_come_from_one_layer(strategy, group, own):
    chosen = resolve(strategy, group, own, asset_class="crypto").quantity
    rows = [("product", Decimal(1), "fixed_quantity")]
    if strategy.default_quantity is not None:
        kind = strategy.default_quantity_type or "fixed_quantity"
        rows.append(("strategy", strategy.default_quantity, kind))
    for source, layer in (("group", group), ("subscription", own)):
        if layer is not None and layer.override_quantity is not None:
            kind = layer.override_quantity_type or "fixed_quantity"
            rows.append((source, layer.override_quantity, kind))
    assert (chosen.source, chosen.value, chosen.quantity_type) == rows[-1]


@given(strategies(), st.none() | owns(), owns(), orders, times, profits, st.booleans())
def test_a_signal_is_listened_to_exactly_where_somebody_says_so(
    strategy, group, own, order_type, time_in_force, take_profit, exit
):
    resolved = resolve(strategy, group, own, asset_class="crypto")
    wanted = Wanted(
        quantity=Decimal(9), quantity_type="fixed_quantity", order_type=order_type,
        time_in_force=time_in_force, take_profit=take_profit,
    )  # fmt: skip
    got = effective(wanted, resolved, exit=exit)
    side = "exit" if exit else "entry"
    for name, full, said in (
        ("order_type", f"order_type_{side}", order_type),
        ("time_in_force", f"time_in_force_{side}", time_in_force),
    ):
        words = [getattr(layer, f"use_signal_{full}") for layer in (own, group) if layer]
        listens = next((word for word in words if word is not None), True)
        want = ("signal", said) if listens and said else table(strategy, group, own, full)
        assert (got.source[name], getattr(got, name)) == want
    words = [layer.use_signal_quantity for layer in (own, group) if layer]
    listens = next((word for word in words if word is not None), True)
    scaled = resolved.quantity.quantity_type == "multiplier"
    assert (got.source["quantity"] == "signal") == (listens and not scaled)
    if exit:
        assert (got.take_profit, got.stop_loss) == (None, None)


@given(strategies(), st.none() | owns(), owns())
def test_unresolvable_is_what_is_switched_off_and_set_nowhere(strategy, group, own):
    missing = unresolvable(resolve(strategy, group, own, asset_class="stock"))
    for name in [*VALUES, "quantity"]:
        layers = [layer for layer in (own, group) if layer is not None]
        words = [getattr(layer, f"use_signal_{name}") for layer in layers]
        off = next((word for word in words if word is not None), True) is False
        somewhere = [getattr(layer, f"override_{name}") for layer in layers]
        somewhere.append(getattr(strategy, f"default_{name}"))
        assert (name in missing) == (off and all(value is None for value in somewhere))


amounts = st.none() | st.integers(1, 9).map(Decimal)
layers = st.builds(
    Limits,
    over_limit=st.sampled_from([None, "cut", "skip"]),
    **dict.fromkeys(NUMBERS, amounts),
)
LEVELS = ("platform", "tenant", "strategy", "group", "account")


@given(st.tuples(*[layers] * 5))
def test_the_tightest_limit_holds_and_the_outermost_that_sets_it_is_named(five):
    held = tightest(zip(LEVELS, five, strict=True))
    own = LEVELS.index("strategy")
    for name in NUMBERS:
        said = [(getattr(one, name), place) for place, one in enumerate(five)]
        said = [(value, place) for value, place in said if value is not None]
        if name in OF_THE_STRATEGY:
            mine = [pair for pair in said if pair[1] == own]
            limit = getattr(held, OF_THE_STRATEGY[name])
            assert (limit and (limit.value, own)) == (mine[0] if mine else None)
            said = [pair for pair in said if pair[1] != own]
        limit = getattr(held, name)
        assert (limit and (limit.value, LEVELS.index(limit.source))) == min(said, default=None)
    limiting = [one for one in five if any(getattr(one, name) for name in NUMBERS)]
    every_one_cuts = bool(limiting) and all(one.over_limit == "cut" for one in limiting)
    none_skips = all(one.over_limit != "skip" for one in five)
    assert (held.over_limit.value == "cut") == (every_one_cuts and none_skips)


@given(st.tuples(*[layers] * 5), layers)
def test_another_layer_never_loosens_a_limit(five, another):
    before = tightest(zip(LEVELS, five, strict=True))
    after = tightest([*zip(LEVELS, five, strict=True), ("account", another)])
    for name in NUMBERS:
        old, new = getattr(before, name), getattr(after, name)
        assert old is None or new.value <= old.value
