"""Which option contract a signal means at one account's broker. Pure, exact.

One call, `resolve`, before the instrument is used for anything:

1. Does the signal speak of options at all? An option field, or a ticker that names a contract
   (`SQ 240510C68`, OSI `SQ    240510C00068000`, or the broker's own symbol). If not: None.
2. A named contract is that contract. Option fields beside it may repeat it, never contradict it.
3. Else the chain of the ticker is scanned. `optionType both` is a call for the side buy and a put
   for the side sell. The nearest expiration at or after the asked one (absent: today) is taken
   first, then the strike within it: `strikePrice` to the letter, else counted from the money.
4. What closes, adds, reverses or cancels is looked for among what the account holds (`held`), never
   in a fresh scan: the money has moved since, and another contract would be opened. A target too,
   while something fitting is held; with nothing held it is scanned for like an entry.

At the money is the strike nearest to the underlying's price; of two as near, the one out of the
money. `strikesAway` n counts from there, into or out of the money as `intrinsicValue` says; left
out, it is the first strike in or out of it; and without both, the strike at the money.
`strikeCount` c looks only at the c strikes nearest to the money.

A put that stands for a direction of its underlying is traded the other way (`Contract.inverted`:
the caller swaps the side): always with `both`, so that `sell` buys a put; else as the
subscription's `invert_puts` says.

For an entry nothing of the account is read: one call serves all accounts of a broker that map the
ticker alike (fanout/option_choice.py).

More than one contract, or none, is NoContract with words: a guess would trade the wrong thing.
Whoever calls sizes by the contract's own price: `signalPrice` of a scan is the underlying's.

Thin: one leg. An entry opens the contract that its scan finds; what is held in another contract
of the same underlying is not closed by it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import date
from decimal import Decimal

import msgspec

from fanout.market import Instruments
from fanout.option_text import Named, OptionType, earliest, read_contract
from fanout.order import Side
from fanout.ports import Instrument
from fanout.reasons import Reason
from fanout.signal import Signal, side_of_sentiment

_OF_THE_HELD = frozenset({"exit", "add", "reverse", "cancel"})


class Contract(msgspec.Struct, frozen=True):
    """What to trade. `inverted`: buy for sell and sell for buy. `words`: how it was found."""

    instrument: Instrument
    inverted: bool
    words: str


class NoContract(msgspec.Struct, frozen=True):
    """OPTIONS_UNSUPPORTED, OPTION_NOT_FOUND, NO_PRICE or NO_POSITION, and what exactly is missing."""

    reason: Reason
    words: str


def resolve(
    signal: Signal,
    ticker: str,
    instruments: Instruments,
    reference: Decimal | None,
    today: date,
    *,
    invert_puts: bool,
    held: Collection[str] = (),
) -> Contract | NoContract | None:
    """The contract that `signal` means, why there is none, or None where it speaks of no option.

    `ticker`: after the subscription's symbol map. `reference`: the underlying's price, the
    broker's or `signalPrice`. `today`: the date where the contracts are traded. `held`: symbols in
    which the account has a position or an open order.
    """
    named = read_contract(ticker)
    direct = instruments.find(ticker, {})
    if direct is not None and direct.kind != "option":
        direct = None
    if named is None and direct is None and not has_option_fields(signal):
        return None
    if not instruments.options:
        return NoContract(Reason.OPTIONS_UNSUPPORTED, "the broker has no options")
    if direct is not None:
        found = _agreeing(signal, direct, today)
    elif named is not None:
        found = _named(signal, named, instruments, today)
    else:
        found = _scanned(signal, ticker, instruments, reference, today, held)
    if isinstance(found, NoContract):
        return found
    put = found.option_type == "put"
    inverted = put and (signal.option_type == "both" or invert_puts)
    return Contract(found, inverted, _described(found) + (": side inverted" if inverted else ""))


def underlying_price(signal: Signal, ticker: str, instruments: Instruments) -> Decimal | None:
    """The broker's price of what the ticker names, else the sender's; None where nobody says one."""
    underlying = instruments.find(ticker, {})
    if underlying is not None and underlying.kind != "option" and underlying.reference is not None:
        return underlying.reference
    return signal.reference_price


def has_option_fields(signal: Signal) -> bool:
    """Whether any of the six fields is there."""
    return any(
        value is not None
        for value in (
            signal.option_type, signal.intrinsic_value, signal.expiration, signal.strike_count,
            signal.strikes_away, signal.strike_price,
        )
    )  # fmt: skip


# ------------------------------------------------------------------ a named contract


def _named(
    signal: Signal, named: Named, instruments: Instruments, today: date
) -> Instrument | NoContract:
    fitting = [
        one
        for one in instruments.options_of(named.root)
        if (one.option_type, one.strike, one.expires_on)
        == (named.option_type, named.strike, named.expires_on)
    ]
    words = f"{named.root} {named.expires_on} {named.option_type} {named.strike}"
    found = _only(fitting, words)
    return found if isinstance(found, NoContract) else _agreeing(signal, found, today)


def _agreeing(signal: Signal, named: Instrument, today: date) -> Instrument | NoContract:
    """The contract of the ticker, if what else the signal says of it is true of it."""
    against = [
        name
        for name, is_against in (
            ("optionType", signal.option_type not in (None, "both", named.option_type)),
            ("strikePrice", signal.strike_price not in (None, named.strike)),
            ("expiration", _against_expiration(signal, named, today)),
        )
        if is_against
    ]
    if against:
        return _nothing(f"{' and '.join(against)} against {_described(named)}, which ticker names")
    if named.expires_on is not None and named.expires_on < today:
        return _nothing(f"{_described(named)} has expired")
    return named


def _against_expiration(signal: Signal, named: Instrument, today: date) -> bool:
    """A date must be the contract's; a distance must not reach beyond it."""
    if signal.expiration is None or named.expires_on is None:
        return False
    asked = earliest(signal.expiration, today)
    relative = signal.expiration.startswith("+")
    return named.expires_on < asked if relative else named.expires_on != asked


# ------------------------------------------------------------------ a scan


def _scanned(
    signal: Signal,
    ticker: str,
    instruments: Instruments,
    reference: Decimal | None,
    today: date,
    held: Collection[str],
) -> Instrument | NoContract:
    if acts_on_what_is_held(signal):
        mine = _of_the_held(signal, instruments.options_among(held, ticker), today)
        opens = signal.target_position is not None and _is_empty(mine)
        if not opens:
            return mine
        if signal.target_position == 0:
            return NoContract(Reason.ON_TARGET, "the account holds no such option")
    chain = [
        one
        for one in instruments.options_of(ticker)
        if one.expires_on is not None and one.expires_on >= today and one.strike is not None
    ]
    if not chain:
        return _nothing(f"the broker has no options on {ticker} that have not expired")
    option_type = _type_of(signal)
    if isinstance(option_type, NoContract):
        return option_type
    asked = earliest(signal.expiration, today)
    line = [one for one in chain if one.option_type == option_type and _day(one) >= asked]
    if not line:
        return _nothing(f"no {option_type} on {ticker} expires at or after {asked}")
    nearest = min(_day(one) for one in line)
    return _of_one_day(
        signal, [one for one in line if _day(one) == nearest], option_type, ticker, reference
    )


def _of_one_day(
    signal: Signal,
    line: Sequence[Instrument],
    option_type: OptionType,
    ticker: str,
    reference: Decimal | None,
) -> Instrument | NoContract:
    """The strike, among the contracts of one type and one expiration."""
    strike: Decimal | NoContract
    if signal.strike_price is not None:
        strike = signal.strike_price
    elif reference is None or reference <= 0:
        return NoContract(Reason.NO_PRICE, f"{ticker} has no price to count strikes from")
    else:
        strike = _strike(signal, option_type, sorted({_strike_of(one) for one in line}), reference)
    if isinstance(strike, NoContract):
        return strike
    words = f"{option_type}s on {ticker} of {_day(line[0])} with strike {strike}"
    return _only([one for one in line if one.strike == strike], words)


def _is_empty(found: Instrument | NoContract) -> bool:
    return isinstance(found, NoContract) and found.reason is Reason.NO_POSITION


def acts_on_what_is_held(signal: Signal) -> bool:
    """Whether step 4 holds: the account's own contracts are looked at."""
    return (
        signal.action in _OF_THE_HELD
        or signal.sentiment == "flat"
        or signal.target_position is not None
    )


def _of_the_held(
    signal: Signal, held: Sequence[Instrument], today: date
) -> Instrument | NoContract:
    """The one contract that is held, of those that the signal's own words leave over."""
    dated = signal.expiration is not None and not signal.expiration.startswith("+")
    fitting = [
        one
        for one in held
        if signal.option_type in (None, "both", one.option_type)
        and signal.strike_price in (None, one.strike)
        and (not dated or one.expires_on == earliest(signal.expiration, today))
    ]
    if not fitting:
        return NoContract(Reason.NO_POSITION, "the account holds no such option")
    return _only(fitting, "options that the account holds")


def _type_of(signal: Signal) -> OptionType | NoContract:
    if signal.option_type in ("call", "put"):
        return signal.option_type
    if signal.option_type is None:
        return _nothing("optionType is needed to choose a contract: call, put or both")
    side = _side(signal)
    if side is None:
        return _nothing(f"optionType both needs a side, and action {signal.action} has none")
    return "call" if side == "buy" else "put"


def _side(signal: Signal) -> Side | None:
    if signal.target_position is not None:
        return "buy" if signal.target_position > 0 else "sell"
    said = side_of_sentiment(signal)
    if said is None and signal.action in ("buy", "sell"):
        return "buy" if signal.action == "buy" else "sell"
    return said


def _strike(
    signal: Signal, option_type: OptionType, strikes: Sequence[Decimal], reference: Decimal
) -> Decimal | NoContract:
    """Counted from the money, among `strikes`, which rise."""
    out_is_up = option_type == "call"

    def distance(strike: Decimal) -> tuple[Decimal, bool]:
        """Of two as near, the one out of the money comes first."""
        return abs(strike - reference), (strike > reference) is not out_is_up

    looked_at = sorted(sorted(strikes, key=distance)[: signal.strike_count])
    away, side = signal.strikes_away, signal.intrinsic_value
    if away in (None, 0) and (side is None or away == 0):
        return min(looked_at, key=distance)
    if side is None:
        return _nothing(f"strikesAway {away} needs intrinsicValue: itm or otm")
    up = (side == "otm") is out_is_up
    if away is None:
        beyond: Callable[[Decimal], bool] = (
            (lambda it: it > reference) if up else (lambda it: it < reference)
        )
        line = [strike for strike in looked_at if beyond(strike)]
        away, line = 1, line if up else line[::-1]
    else:
        at = looked_at.index(min(looked_at, key=distance))
        line = looked_at[at + 1 :] if up else looked_at[:at][::-1]
    if away > len(line):
        return _nothing(
            f"{away} strikes {side} of {reference}: among {len(looked_at)} strikes there are {len(line)}"
        )
    return line[away - 1]


# ------------------------------------------------------------------ words


def _only(fitting: Sequence[Instrument], words: str) -> Instrument | NoContract:
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        return _nothing(f"the broker has no {words}")
    names = ", ".join(sorted(one.symbol for one in fitting)[:5])
    return _nothing(f"{len(fitting)} contracts fit {words}: {names}")


def _nothing(words: str) -> NoContract:
    return NoContract(Reason.OPTION_NOT_FOUND, words)


def _described(one: Instrument) -> str:
    return f"{one.symbol} ({one.underlying} {one.expires_on} {one.option_type} {one.strike})"


def _day(one: Instrument) -> date:
    assert one.expires_on is not None
    return one.expires_on


def _strike_of(one: Instrument) -> Decimal:
    assert one.strike is not None
    return one.strike
