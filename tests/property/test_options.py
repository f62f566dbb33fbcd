"""What holds of every scan, whatever the chain looks like."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from dateutil.relativedelta import relativedelta
from hypothesis import assume, given
from hypothesis import strategies as st

from fanout.market import Instruments
from fanout.option_text import earliest, read_contract
from fanout.options import Contract, NoContract, resolve
from fanout.ports import Instrument
from fanout.reasons import Reason
from fanout.signal import Signal
from tests.unit.fanout.test_options import option

TODAY = date(2026, 11, 20)
strikes = st.lists(st.integers(1, 400), min_size=1, max_size=25, unique=True).map(
    lambda found: [Decimal(number) / 2 for number in sorted(found)]
)
prices = st.integers(2, 801).map(lambda number: Decimal(number) / 4)
kinds = st.sampled_from(["call", "put"])
days = st.lists(st.integers(0, 400), min_size=1, max_size=5, unique=True)


def chain(levels: list[Decimal], after: list[int]) -> list[Instrument]:
    return [
        option(kind, level, TODAY + timedelta(days=number))
        for kind in ("call", "put")
        for level in levels
        for number in after
    ]


def scan(instruments: list[Instrument], price: Decimal, **fields: Any) -> Contract | NoContract:
    signal = Signal(ticker="SQ", action="buy", **fields)
    found = resolve(signal, "SQ", Instruments(instruments), price, TODAY, invert_puts=False)
    assert found is not None
    return found


@given(strikes, days, prices, kinds, st.sampled_from(["itm", "otm"]), st.integers(1, 12))
def test_n_strikes_away_is_n_strikes_away_on_the_side_that_was_asked(
    levels: list[Decimal], after: list[int], price: Decimal, kind: str, side: str, away: int
) -> None:
    found = scan(
        chain(levels, after), price, option_type=kind, intrinsic_value=side, strikes_away=away
    )
    nearest = min(abs(level - price) for level in levels)
    at_the_money = [level for level in levels if abs(level - price) == nearest]
    up = (kind == "call") is (side == "otm")
    if isinstance(found, NoContract):
        assert found.reason is Reason.OPTION_NOT_FOUND
        beyond = [x for x in levels if (x > at_the_money[-1] if up else x < at_the_money[0])]
        assert len(beyond) < away
        return
    strike = found.instrument.strike
    assert strike is not None
    assert (strike > price) if up else (strike < price)
    between = [x for x in levels if min(strike, price) < x < max(strike, price)]
    assert away - 1 <= len(between) + 1
    steps = {abs(levels.index(strike) - levels.index(level)) for level in at_the_money}
    assert away in steps
    assert found.instrument.option_type == kind
    assert found.instrument.expires_on == TODAY + timedelta(days=min(after))


@given(strikes, prices, st.sampled_from(["itm", "otm"]), st.none() | st.integers(0, 12))
def test_a_put_is_a_call_seen_in_a_mirror(
    levels: list[Decimal], price: Decimal, side: str, away: int | None
) -> None:
    """Strikes turned round about the price swap calls with puts, and nothing else."""
    most = Decimal(1000)
    mirrored = sorted(most - level for level in levels)
    asked = {"intrinsic_value": side, "strikes_away": away}
    call = scan(chain(levels, [1]), price, option_type="call", **asked)
    put = scan(chain(mirrored, [1]), most - price, option_type="put", **asked)
    if isinstance(call, NoContract) or isinstance(put, NoContract):
        assert isinstance(call, NoContract)
        assert isinstance(put, NoContract)
    else:
        assert call.instrument.strike is not None
        assert put.instrument.strike == most - call.instrument.strike


@given(strikes, days, prices, kinds, st.integers(0, 500))
def test_never_before_the_asked_day_and_never_after_the_next_one(
    levels: list[Decimal], after: list[int], price: Decimal, kind: str, wait: int
) -> None:
    found = scan(chain(levels, after), price, option_type=kind, expiration=f"+{wait} days")
    left = [number for number in after if number >= wait]
    if not left:
        assert isinstance(found, NoContract)
    else:
        assert isinstance(found, Contract)
        assert found.instrument.expires_on == TODAY + timedelta(days=min(left))


@given(strikes, prices, kinds, st.integers(1, 30))
def test_strike_count_changes_nothing_but_what_is_out_of_its_reach(
    levels: list[Decimal], price: Decimal, kind: str, count: int
) -> None:
    asked = {"option_type": kind, "intrinsic_value": "otm", "strikes_away": 1}
    whole = scan(chain(levels, [1]), price, **asked)
    narrow = scan(chain(levels, [1]), price, strike_count=count, **asked)
    assert narrow == whole or (isinstance(narrow, NoContract) and count < len(levels))


@given(strikes, prices, kinds)
def test_twins_are_never_chosen_between(levels: list[Decimal], price: Decimal, kind: str) -> None:
    twins = [option(kind, level, TODAY, "SQ1") for level in levels]
    found = scan([*chain(levels, [0]), *twins], price, option_type=kind)
    assert isinstance(found, NoContract)


@given(
    st.dates(date(2000, 1, 1), date(2090, 12, 31)),
    st.integers(0, 120),
    st.sampled_from(["day", "week", "month", "year"]),
    st.booleans(),
)
def test_distances_are_what_dateutil_says(today: date, count: int, unit: str, plural: bool) -> None:
    text = f"+{count} {unit}{'s' if plural else ''}"
    assert earliest(text, today) == today + relativedelta(**{f"{unit}s": count})  # type: ignore[arg-type]


@given(
    st.from_regex(r"[A-Z]{1,5}", fullmatch=True),
    st.dates(date(2000, 1, 1), date(2099, 12, 31)),
    kinds,
    st.integers(1, 99_999_999),
)
def test_both_spellings_of_a_contract_are_one(
    root: str, day: date, kind: str, thousandths: int
) -> None:
    assume(thousandths < 10**8)
    letter, strike = kind[0].upper(), Decimal(thousandths).scaleb(-3)
    osi = read_contract(f"{root:6}{day:%y%m%d}{letter}{thousandths:08}")
    plain = read_contract(f"{root} {day:%y%m%d}{letter}{strike.normalize():f}")
    assert osi is not None
    assert osi == plain
    assert (osi.root, osi.expires_on, osi.option_type, osi.strike) == (root, day, kind, strike)
