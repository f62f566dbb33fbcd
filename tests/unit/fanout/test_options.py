"""Which contract a signal means: named, scanned for, or held; and when nobody may guess."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanout.brokers.paper.adapter import PaperBroker
from fanout.brokers.paper.settings import PaperSettings
from fanout.market import Instruments
from fanout.option_text import Named, earliest, read_contract
from fanout.options import Contract, NoContract, resolve, underlying_price
from fanout.ports import Acked, Instrument
from fanout.reasons import Reason
from fanout.signal import Signal
from tenancy.clock import SystemClock
from tests.builders import instrument
from tests.fakes.orders import an_account, an_order, submitted

TODAY = date(2024, 5, 1)
MAY, JUNE, NOVEMBER = date(2024, 5, 10), date(2024, 6, 21), date(2024, 11, 15)
STRIKES = tuple(Decimal(strike) for strike in ("64", "66", "67", "68", "69", "70", "72.5"))
PRICE = Decimal("68.20")


def option(kind: str, strike: Decimal, day: date, root: str = "SQ", **changed: Any) -> Instrument:
    symbol = f"{root}{day:%y%m%d}{kind[0].upper()}{int(strike * 1000):08}"
    facts: dict[str, Any] = {
        "kind": "option", "underlying": "SQ", "option_type": kind, "strike": strike,
        "expires_on": day, "multiplier": Decimal(100), "currency": "USD",
    }  # fmt: skip
    return instrument(symbol, **(facts | changed))


CHAIN = [
    option(kind, strike, day)
    for kind in ("call", "put")
    for strike in STRIKES
    for day in (MAY, JUNE, NOVEMBER)
]
STOCK = instrument("SQ", kind="stock", last_price=PRICE, mark_price=None)
BROKER = Instruments([STOCK, *CHAIN, instrument("BTC_USDT")])


def asked(
    *, ticker: str = "SQ", broker: Instruments = BROKER, reference: Decimal | None = PRICE,
    invert_puts: bool = True, held: Iterable[str] = (), action: str = "buy", **fields: Any,
) -> Contract | NoContract | None:  # fmt: skip
    signal = Signal(ticker=ticker, action=action, **fields)  # type: ignore[arg-type]
    return resolve(
        signal, ticker, broker, reference, TODAY, invert_puts=invert_puts, held=frozenset(held)
    )


def chosen(**how: Any) -> tuple[str, Decimal, date]:
    found = asked(**how)
    assert isinstance(found, Contract), found
    one = found.instrument
    assert one.option_type is not None
    assert one.strike is not None
    assert one.expires_on is not None
    return one.option_type, one.strike, one.expires_on


def refused(reason: Reason, *words: str, **how: Any) -> None:
    found = asked(**how)
    assert isinstance(found, NoContract), found
    assert found.reason is reason
    for word in words:
        assert word in found.words


# ------------------------------------------------------------------ named contracts


@pytest.mark.parametrize(
    ("ticker", "named"),
    [
        ("SQ 240510C68", Named("SQ", MAY, "call", Decimal(68))),
        ("SQ 240510P72.5", Named("SQ", MAY, "put", Decimal("72.5"))),
        ("SQ    240510C00068000", Named("SQ", MAY, "call", Decimal(68))),
        ("SQ240510P00072500", Named("SQ", MAY, "put", Decimal("72.5"))),
        ("sq 240510c68", Named("SQ", MAY, "call", Decimal(68))),
        ("BRK.B 240510C400", Named("BRK.B", MAY, "call", Decimal(400))),
        ("SPXW1240510C5000", Named("SPXW1", MAY, "call", Decimal(5000))),
    ],
)
def test_a_contract_is_read_from_either_spelling(ticker: str, named: Named) -> None:
    assert read_contract(ticker) == named


@pytest.mark.parametrize(
    "ticker",
    [
        "SQ", "BTC_USDT", "TXFR1", "MNQU2025", "SQ 241301C68", "SQ 240230C68", "SQ 240510X68",
        "SQ 240510C", "SQ 240510C0", "SQ 240510C00000000", "SQ 240510C6_8", "SQ 240510C٦٨",
        "240510C68", "SQ 240510C68.", "SQ 240510 C68",
    ],
)  # fmt: skip
def test_what_spells_no_contract_is_read_as_none(ticker: str) -> None:
    assert read_contract(ticker) is None


@pytest.mark.parametrize("ticker", ["SQ 240510C68", "SQ    240510C00068000", "SQ240510C00068000"])
def test_the_ticker_names_the_contract(ticker: str) -> None:
    assert chosen(ticker=ticker, reference=None) == ("call", Decimal(68), MAY)


def test_the_brokers_own_symbol_names_the_contract_whatever_it_looks_like() -> None:
    one = option("put", Decimal(18000), MAY)
    broker = Instruments([msgspec.structs.replace(one, symbol="TXO18000Q4", underlying="TXO")])
    assert chosen(ticker="TXO18000Q4", broker=broker) == ("put", Decimal(18000), MAY)


def test_a_signal_that_speaks_of_no_option_is_left_alone() -> None:
    assert asked() is None
    assert asked(ticker="BTC_USDT", action="exit") is None


def test_a_named_contract_that_is_not_there_is_not_replaced_by_a_near_one() -> None:
    refused(Reason.OPTION_NOT_FOUND, "68.5", ticker="SQ 240510C68.5")
    refused(Reason.OPTION_NOT_FOUND, ticker="SQ 240511C68")
    refused(Reason.OPTION_NOT_FOUND, ticker="XYZ 240510C68")


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("option_type", "put", "optionType"),
        ("strike_price", Decimal(69), "strikePrice"),
        ("expiration", "2024-05-17", "expiration"),
        ("expiration", "+1 month", "expiration"),
    ],
)
def test_what_contradicts_the_named_contract_is_refused(field: str, value: Any, named: str) -> None:
    refused(Reason.OPTION_NOT_FOUND, named, ticker="SQ 240510C68", **{field: value})


def test_what_repeats_the_named_contract_is_fine() -> None:
    said = {"option_type": "call", "strike_price": Decimal("68.0"), "expiration": "2024-05-10"}
    assert chosen(ticker="SQ 240510C68", **said) == ("call", Decimal(68), MAY)


def test_an_expired_contract_is_not_traded() -> None:
    past = option("call", Decimal(68), date(2024, 4, 30))
    broker = Instruments([past, option("call", Decimal(68), TODAY)])
    refused(Reason.OPTION_NOT_FOUND, "expired", ticker="SQ 240430C68", broker=broker)
    assert chosen(broker=broker, option_type="call") == ("call", Decimal(68), TODAY)


# ------------------------------------------------------------------ a scan


@pytest.mark.parametrize(
    ("expiration", "day"),
    [
        (None, MAY),
        ("2024-05-10", MAY),
        ("2024-05-11", JUNE),
        ("+9 days", MAY),
        ("+10 days", JUNE),
        ("+2 weeks", JUNE),
        ("+1 month", JUNE),
        ("+6 months", NOVEMBER),
    ],
)
def test_the_nearest_expiration_at_or_after_the_asked_one(
    expiration: str | None, day: date
) -> None:
    assert chosen(option_type="call", expiration=expiration) == ("call", Decimal(68), day)


def test_beyond_the_last_expiration_there_is_nothing() -> None:
    refused(Reason.OPTION_NOT_FOUND, "2025-05-01", option_type="call", expiration="+1 year")


@pytest.mark.parametrize(
    ("option_type", "side", "away", "strike"),
    [
        # the price is 68.20: 68 is at the money
        ("call", None, None, "68"),
        ("call", None, 0, "68"),
        ("call", "itm", 0, "68"),
        ("call", "otm", None, "69"),
        ("call", "itm", None, "68"),  # a call at 68 is in the money already
        ("call", "otm", 1, "69"),
        ("call", "otm", 3, "72.5"),
        ("call", "itm", 1, "67"),
        ("call", "itm", 2, "66"),
        ("put", None, None, "68"),
        ("put", "otm", None, "68"),  # and a put at 68 is out of it
        ("put", "itm", None, "69"),
        ("put", "otm", 1, "67"),
        ("put", "itm", 1, "69"),
        ("put", "itm", 3, "72.5"),
    ],
)
def test_strikes_are_counted_from_the_money(
    option_type: str, side: str | None, away: int | None, strike: str
) -> None:
    found = chosen(option_type=option_type, intrinsic_value=side, strikes_away=away)
    assert found == (option_type, Decimal(strike), MAY)


@pytest.mark.parametrize(("option_type", "strike"), [("call", "69"), ("put", "68")])
def test_of_two_strikes_as_near_the_one_out_of_the_money_is_at_the_money(
    option_type: str, strike: str
) -> None:
    found = chosen(option_type=option_type, reference=Decimal("68.5"))
    assert found[1] == Decimal(strike)


def test_strike_price_is_to_the_letter_and_needs_no_price() -> None:
    how: dict[str, Any] = {"option_type": "put", "reference": None}
    assert chosen(strike_price=Decimal("72.50"), **how) == ("put", Decimal("72.5"), MAY)
    refused(Reason.OPTION_NOT_FOUND, "72", strike_price=Decimal(72), **how)


def test_strike_count_narrows_the_scan() -> None:
    """Of the three strikes nearest to 68.20 (67, 68, 69) none is two out of the money."""
    how: dict[str, Any] = {"option_type": "call", "intrinsic_value": "otm", "strike_count": 3}
    assert chosen(strikes_away=1, **how)[1] == Decimal(69)
    refused(Reason.OPTION_NOT_FOUND, "3 strikes", strikes_away=2, **how)


@pytest.mark.parametrize(("action", "found"), [("buy", ("call", False)), ("sell", ("put", True))])
def test_both_buys_a_call_for_up_and_a_put_for_down(action: str, found: tuple[str, bool]) -> None:
    """Whatever `invert_puts` says: with both, nothing is ever sold short."""
    for invert_puts in (True, False):
        it = asked(action=action, option_type="both", invert_puts=invert_puts)
        assert isinstance(it, Contract)
        assert (it.instrument.option_type, it.inverted) == found


@pytest.mark.parametrize("how", [{"option_type": "put"}, {"ticker": "SQ 240510P68"}])
@pytest.mark.parametrize("invert_puts", [True, False])
def test_a_put_is_inverted_as_the_subscription_says(how: dict[str, Any], invert_puts: bool) -> None:
    it = asked(invert_puts=invert_puts, **how)
    assert isinstance(it, Contract)
    assert it.inverted is invert_puts
    assert ("inverted" in it.words) is invert_puts


@pytest.mark.parametrize("how", [{"option_type": "call"}, {"ticker": "SQ 240510C68"}])
def test_a_call_is_never_inverted(how: dict[str, Any]) -> None:
    it = asked(invert_puts=True, action="sell", **how)
    assert isinstance(it, Contract)
    assert not it.inverted


# ------------------------------------------------------------------ nobody guesses


def test_without_enough_words_there_is_no_guess() -> None:
    refused(Reason.OPTION_NOT_FOUND, "optionType", expiration="+1 month")
    refused(Reason.OPTION_NOT_FOUND, "itm or otm", option_type="call", strikes_away=2)
    refused(Reason.NO_PRICE, "price", option_type="call", reference=None)
    refused(Reason.OPTION_NOT_FOUND, "no options on XYZ", option_type="call", ticker="XYZ")
    refused(
        Reason.OPTION_NOT_FOUND, "strikes otm", option_type="call", intrinsic_value="otm",
        strikes_away=4,
    )  # fmt: skip


def test_a_broker_without_options_says_so() -> None:
    broker = Instruments([STOCK])
    refused(Reason.OPTIONS_UNSUPPORTED, broker=broker, option_type="call")
    refused(Reason.OPTIONS_UNSUPPORTED, broker=broker, ticker="SQ 240510C68")


def test_two_contracts_that_fit_are_both_named_and_neither_traded() -> None:
    """An adjusted contract beside the standard one: same strike, same day, other deliverable."""
    twin = option("call", Decimal(68), MAY, "SQ1")
    broker = Instruments([*CHAIN, twin])
    words = ("2 contracts", "SQ1240510C00068000", "SQ240510C00068000")
    refused(Reason.OPTION_NOT_FOUND, *words, broker=broker, option_type="call")
    refused(Reason.OPTION_NOT_FOUND, *words, broker=broker, ticker="SQ 240510C68")
    assert chosen(broker=broker, ticker=twin.symbol) == ("call", Decimal(68), MAY)


# ------------------------------------------------------------------ what is held

CALL, PUT = (option(kind, Decimal(66), JUNE).symbol for kind in ("call", "put"))


@pytest.mark.parametrize("action", ["exit", "add", "reverse", "cancel"])
def test_what_acts_on_a_position_takes_the_contract_that_is_held(action: str) -> None:
    """The money has moved since the entry: a fresh scan would open another contract."""
    held = (CALL,)
    how: dict[str, Any] = {"action": action, "held": held, "reference": None}
    assert chosen(option_type="call", intrinsic_value="otm", **how) == ("call", Decimal(66), JUNE)
    assert chosen(option_type="both", **how) == ("call", Decimal(66), JUNE)
    assert chosen(expiration="+6 months", **how) == ("call", Decimal(66), JUNE)
    refused(Reason.NO_POSITION, option_type="put", **how)
    refused(Reason.NO_POSITION, strike_price=Decimal(67), **how)
    refused(Reason.NO_POSITION, option_type="call", **(how | {"held": ()}))


def test_two_held_contracts_need_a_word_that_tells_them_apart() -> None:
    how: dict[str, Any] = {"action": "exit", "held": (CALL, PUT, "BTC_USDT")}
    refused(Reason.OPTION_NOT_FOUND, "2 contracts", option_type="both", **how)
    assert chosen(option_type="put", **how) == ("put", Decimal(66), JUNE)


def test_flat_closes_what_is_held_too() -> None:
    found = chosen(action="sell", sentiment="flat", option_type="both", held=(CALL,))
    assert found == ("call", Decimal(66), JUNE)


@pytest.mark.parametrize(
    ("target", "held", "found"),
    [
        ("2", (CALL,), ("call", Decimal(66), JUNE)),
        ("0", (CALL,), ("call", Decimal(66), JUNE)),
        ("2", (), ("call", Decimal(68), MAY)),
        ("-2", (), ("put", Decimal(68), MAY)),
    ],
)
def test_a_target_goes_on_with_what_is_held(target: str, held: tuple, found: tuple) -> None:
    how: dict[str, Any] = {"action": "target", "option_type": "both", "held": held}
    assert chosen(target_position=Decimal(target), **how) == found


def test_a_target_of_nothing_with_nothing_held_is_reached() -> None:
    how: dict[str, Any] = {"action": "target", "option_type": "both"}
    refused(Reason.ON_TARGET, target_position=Decimal(0), **how)
    refused(Reason.OPTION_NOT_FOUND, target_position=Decimal(1), held=(CALL, PUT), **how)


# ------------------------------------------------------------------ dates and prices


@pytest.mark.parametrize(
    ("text", "today", "day"),
    [
        ("+1 month", "2024-01-31", "2024-02-29"),
        ("+1 month", "2023-01-31", "2023-02-28"),
        ("+12 months", "2024-02-29", "2025-02-28"),
        ("+1 year", "2024-02-29", "2025-02-28"),
        ("+1 month", "2024-12-15", "2025-01-15"),
        ("+0 days", "2024-12-15", "2024-12-15"),
        ("+1 day", "2024-02-28", "2024-02-29"),
        ("2024-06-21", "2024-12-15", "2024-06-21"),
    ],
)
def test_months_keep_their_day_or_end(text: str, today: str, day: str) -> None:
    assert earliest(text, date.fromisoformat(today)) == date.fromisoformat(day)


def test_the_underlyings_price_is_the_brokers_else_the_senders() -> None:
    signal = Signal(ticker="SQ", action="buy", signal_price=Decimal(70))
    assert underlying_price(signal, "SQ", BROKER) == PRICE
    assert underlying_price(signal, "SQ", Instruments(CHAIN)) == 70
    assert underlying_price(Signal(ticker="SQ", action="buy"), "SQ", Instruments(CHAIN)) is None
    assert underlying_price(signal, CHAIN[0].symbol, BROKER) == 70, "never an option's own price"


async def test_paper_can_declare_a_chain_and_trade_it() -> None:
    """From the settings file to a filled order, by way of a scan."""
    page = (Path(__file__).parents[3] / "docs/senders/options.md").read_text()
    (declared,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    settings = msgspec.convert(tomllib.loads(declared)["brokers"]["paper"], PaperSettings)
    paper = PaperBroker(settings, SystemClock())
    table = await paper.instruments()
    broker = Instruments(table.values())
    signal = Signal(ticker="SPY", action="sell", option_type="both")
    price = underlying_price(signal, "SPY", broker)
    found = resolve(signal, "SPY", broker, price, date(2026, 11, 20), invert_puts=True)
    assert isinstance(found, Contract)
    assert (found.instrument.symbol, found.inverted) == ("SPY   261218P00580000", True)
    account = an_account()
    order = an_order(account, symbol=found.instrument.symbol, order_qty=Decimal(1), side="buy")
    outcome = await submitted(paper, account, order)
    assert isinstance(outcome, Acked)
    assert outcome.report.avg_px == found.instrument.last_price
