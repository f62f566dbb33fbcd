"""countdown_cancel_all: an account's dead-man switch. Orders are cancelled, positions stay.

One countdown per account and contract, and one for all contracts. Saying it again starts anew, zero
calls it off; below five seconds it is refused. Counted by the venue's clock in `look`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.orders import unreadable
from loadtest.exchanges.gateio.refusal import invalid

if TYPE_CHECKING:
    from loadtest.exchanges.gateio.exchange import Exchange

TIMEOUT_MIN_S = 5


class _Body(msgspec.Struct):
    timeout: int
    contract: str | None = None


class Countdowns:
    """Those that run, by account key and contract (None: all)."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._due: dict[tuple[str, str | None], float] = {}

    def set(self, account: Account, body: bytes) -> float:
        """Returns when it would act, in seconds; zero where it was called off. Raises Refusal."""
        try:
            wanted = msgspec.json.decode(body, type=_Body, strict=False)
        except msgspec.DecodeError as error:
            raise unreadable(error) from None
        contract = wanted.contract or None
        if contract is not None:
            self._exchange.book(contract)
        if wanted.timeout < 0 or 0 < wanted.timeout < TIMEOUT_MIN_S:
            raise invalid("timeout", wanted.timeout)
        if wanted.timeout == 0:
            self._due.pop((account.key, contract), None)
            return 0.0
        due = self._exchange.now() + wanted.timeout
        self._due[account.key, contract] = due
        return due

    def look(self, now: float) -> None:
        """Cancel where the time has come; each acts once."""
        if not self._due:
            return
        for (key, contract), due in list(self._due.items()):
            if due <= now:
                del self._due[key, contract]
                self._exchange.cancel_all(self._exchange.accounts[key], contract)
