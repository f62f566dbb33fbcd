"""What brokers said, as one plan uses it: instruments, balances, positions, what is under way. Pure.

Together with the snapshot and the seed it decides the plan, so the parts that a plan used are
kept in the plan itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from fanout.ports import Caps, Instrument
from fanout.windows import Sessions
from tenancy.parameters import TradingState
from tenancy.values import AccountID


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What an account has used of limits that more than one plan draws on, as the plan's own
    transaction sees it: it holds the turn of every strategy that shares the account (fanout/usage.py)."""

    others: Decimal = Decimal(0)
    """Signed lots in this symbol that the account's other strategies hold or are about to: their net."""
    others_long: Decimal = Decimal(0)
    """Lots that those of them that are long hold at most, with all that rests and all that may fail. No
    other's short position is taken off: it may be closed at any moment. Limits count this."""
    others_short: Decimal = Decimal(0)
    may_buy: Decimal = Decimal(0)
    """By how many lots this strategy's own `AccountNow.expected` may still rise: what rests, and closes that
    are counted on and may fail."""
    may_sell: Decimal = Decimal(0)
    worth_elsewhere: Decimal | None = Decimal(0)
    """Of all positions and resting openings in other symbols, in the account's currency; None: cannot tell."""
    orders_last_minute: int = 0
    loss_today: Decimal | None = Decimal(0)  # ≥ 0, in the account's currency; None: cannot tell
    risk_open: Decimal | None = Decimal(0)  # what stops behind positions and orders may still lose

    @property
    def shared(self) -> bool:
        """Whether other strategies hold, or wait, in this symbol."""
        return bool(self.others or self.others_long or self.others_short)

    @property
    def knows_loss(self) -> bool:
        return self.loss_today is not None and self.risk_open is not None


class AccountNow(msgspec.Struct, frozen=True, kw_only=True):
    """One account's book in one symbol, for one strategy, when the plan was made."""

    equity: Decimal | None = None  # with unrealised profit
    unrealised: Decimal = Decimal(0)
    available: Decimal | None = None
    position: Decimal = Decimal(0)  # signed lots, from fills
    under_way: Decimal = Decimal(0)  # signed lots of orders that are expected to fill at once
    resting_buy: Decimal = Decimal(0)  # lots that wait at the broker and would open or add
    resting_sell: Decimal = Decimal(0)
    in_doubt: bool = False

    @property
    def expected(self) -> Decimal:
        """The position once what is under way has filled."""
        return self.position + self.under_way


class Instruments:
    """One broker's instruments, found by the sender's ticker."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._by_symbol = {instrument.symbol: instrument for instrument in instruments}
        self._by_folded: dict[str, list[Instrument]] = {}
        for instrument in self._by_symbol.values():
            self._by_folded.setdefault(_folded(instrument.symbol), []).append(instrument)
        self._chains: dict[str, list[Instrument]] = {}
        for option in self._by_symbol.values():
            if option.kind == "option" and option.underlying is not None:
                self._chains.setdefault(_folded(option.underlying), []).append(option)

    def find(self, ticker: str, symbol_map: Mapping[str, str]) -> Instrument | None:
        """The instrument that `ticker` names: mapped, to the letter, or but for punctuation and case.

        None where nothing or more than one thing fits: a guess would trade the wrong thing.
        """
        mapped = symbol_map.get(ticker, ticker)
        exact = self._by_symbol.get(mapped)
        if exact is not None:
            return exact
        candidates = self._by_folded.get(_folded(mapped), [])
        return candidates[0] if len(candidates) == 1 else None

    @property
    def options(self) -> bool:
        """Whether there are any."""
        return bool(self._chains)

    def options_of(self, underlying: str) -> Sequence[Instrument]:
        """The chain of an underlying, found as `find` finds: but for punctuation and case."""
        return self._chains.get(_folded(underlying), ())

    def options_among(self, symbols: Iterable[str], underlying: str) -> list[Instrument]:
        """Those of `symbols`, as the broker names them, that are options on `underlying`."""
        known = (self._by_symbol.get(symbol) for symbol in symbols)
        wanted = _folded(underlying)
        return [
            one
            for one in known
            if one is not None
            and one.kind == "option"
            and one.underlying is not None
            and _folded(one.underlying) == wanted
        ]

    def get(self, symbol: str) -> Instrument | None:
        """The instrument of exactly this symbol, as the broker names it."""
        return self._by_symbol.get(symbol)

    def __len__(self) -> int:
        return len(self._by_symbol)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_symbol.values())


class Market(msgspec.Struct, frozen=True, kw_only=True, weakref=True):
    """What a plan reads of the world outside."""

    instruments: dict[str, Instruments]  # by broker
    accounts: dict[AccountID, AccountNow]
    keyed: frozenset[str] = frozenset()  # brokers whose accounts trade with an enrolled key only
    reduces: frozenset[str] = frozenset()
    """Brokers with reduce-only orders, which cannot turn a position round."""
    instrument_states: Mapping[tuple[str, str], TradingState] = {}
    """By broker and symbol, of the instruments that are not active (fanout/instrument_states.py)."""
    caps: Mapping[str, Caps] = {}
    """Of brokers; of one that is not named, times in force are sent as they are asked for."""
    contracts: Mapping[AccountID, Any] = {}
    """Which option contract each account would trade (fanout/option_choice.py), where the signal speaks of one."""
    usage: Mapping[AccountID, Usage] = {}
    """Of accounts that are shared, or under a limit that counts: for these a missing one refuses."""
    clock_untrusted: bool = False
    """Whether the host's clock is over what the tenant or the platform opens positions by."""
    calendars: dict[str, Sessions] = {}  # those that the snapshot's trading windows name


def _folded(symbol: str) -> str:
    return "".join(character for character in symbol.upper() if character.isalnum())
