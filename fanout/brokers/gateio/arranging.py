"""Make an account at Gate.io what its settings say, before its first order that opens anything.

1. Position mode, where it is said: ask the account, and change it if it is another. Gate refuses that while
   there are positions or open orders; the order is then refused, and a person decides.
2. Margin mode and leverage of the contract, where they are said: ask the position, change what differs,
   and believe only an answer that shows what was asked for.

Each step may be done again and changes nothing the second time, so a crash or a lost answer costs one
more question: the order is Unsent and comes again. What was seen to be right is believed for
ARRANGED_FOR_S, because a person can change it at Gate by hand.

An order that only reduces waits for none of this: closing must not fail because a leverage cannot be set.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

from fanout.brokers.gate import labels
from fanout.brokers.gate.client import NoAnswer, NotSent
from fanout.brokers.gate.reading import Answer, Unreadable, label_of, retry_after_s
from fanout.brokers.gate.request import Request
from fanout.brokers.gateio import account_settings, account_wire, holdings
from fanout.brokers.gateio.account_settings import AccountSettings, BadAccountSettings
from fanout.brokers.gateio.holdings import Position
from fanout.brokers.gateio.limits import Door
from fanout.order import Order
from fanout.ports import AuthFailed, BrokerAccount, Outcome, RateLimited, Rejected, Unsent
from tenancy.clock import Clock
from tenancy.values import AccountID

ARRANGED_FOR_S = 900.0


class _Stopped(Exception):
    """The account cannot be made what it should be: carries what that means for the order."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


class Arranger:
    """Knows which accounts and contracts are as they should be."""

    def __init__(self, door: Door, settle: str, clock: Clock) -> None:
        self._door = door
        self._settle = settle
        self._clock = clock
        self._seen: dict[tuple[AccountID, str], tuple[AccountSettings, float]] = {}
        self._turns: dict[AccountID, asyncio.Lock] = {}

    async def ready(self, account: BrokerAccount, order: Order) -> Outcome | None:
        """None: the order may go. Else what became of it: it was not sent."""
        if order.reduce_only:
            return None
        try:
            wanted = account_settings.read(account.settings)
        except BadAccountSettings as why:
            return Rejected(code=why.code, kind="other", text=f"not sent: {why}", left=False)
        if wanted.silent:
            return None
        async with self._turns.setdefault(account.account_id, asyncio.Lock()):
            return await self._arranged(account, order.symbol, wanted)

    async def _arranged(
        self, account: BrokerAccount, contract: str, wanted: AccountSettings
    ) -> Outcome | None:
        key = (account.account_id, contract)
        if self._is_fresh(key, wanted):
            return None
        try:
            await self._position_mode(account, wanted)  # 1.
            await self._margin(account, contract, wanted)  # 2.
        except _Stopped as stopped:
            return stopped.outcome
        except (NotSent, NoAnswer, Unreadable) as why:
            return Unsent(cause=f"the account was not arranged: {why}")
        self._seen[key] = (wanted, self._clock.monotonic())
        return None

    def _is_fresh(self, key: tuple[AccountID, str], wanted: AccountSettings) -> bool:
        said, at_s = self._seen.get(key, (None, 0.0))
        return said == wanted and self._clock.monotonic() - at_s < ARRANGED_FOR_S

    # -------------------------------------------------------------- 1.

    async def _position_mode(self, account: BrokerAccount, wanted: AccountSettings) -> None:
        if wanted.position_mode is None:
            return
        answer = await self._ask(account, account_wire.account(self._settle))
        if holdings.futures_account(answer.body).hedge == wanted.hedge:
            return
        request = account_wire.set_position_mode(self._settle, hedge=wanted.hedge)
        changed = await self._ask(account, request)
        if holdings.futures_account(changed.body).hedge != wanted.hedge:
            raise Unreadable(f"position mode is still not {wanted.position_mode}")

    # -------------------------------------------------------------- 2.

    async def _margin(self, account: BrokerAccount, contract: str, wanted: AccountSettings) -> None:
        if wanted.margin_mode is None:
            return
        request = account_wire.position(self._settle, contract, hedge=wanted.hedge)
        answer = await self._ask(account, request, but=labels.NO_POSITION)
        if answer.status == 200 and _stands(answer, wanted):
            return
        changed = await self._ask(account, self._change(contract, wanted))
        if not _stands(changed, wanted):
            raise Unreadable(
                f"{contract} does not show {wanted.margin_mode} margin, leverage {wanted.leverage}"
            )

    def _change(self, contract: str, wanted: AccountSettings) -> Request:
        mode = wanted.margin_mode or ""
        if wanted.leverage is None:
            return account_wire.set_margin_mode(
                self._settle, contract, hedge=wanted.hedge, margin_mode=mode
            )
        return account_wire.set_leverage(
            self._settle,
            contract,
            hedge=wanted.hedge,
            margin_mode=mode,
            leverage=wanted.leverage,
        )

    # -------------------------------------------------------------- asking

    async def _ask(self, account: BrokerAccount, request: Request, *, but: str = "") -> Answer:
        """A 2xx answer, or the refusal labelled `but`. Raises _Stopped, NotSent, NoAnswer, Unreadable."""
        answer = await self._door.ask(account, request)
        label, text = label_of(answer)
        if 200 <= answer.status < 300 or (but and label == but):
            return answer
        said = f"before the order, {request.method} {request.path}: {label}: {text}"
        if answer.status == 429 or label in labels.TOO_MANY:
            wait_s = retry_after_s(answer, self._door.client.time.now())
            raise _Stopped(RateLimited(retry_after_s=wait_s))
        if not 400 <= answer.status < 500 or not label or label in labels.SERVER_FAULT:
            raise Unreadable(f"{request.path}: status {answer.status} {label}".rstrip())
        kind = labels.AUTH.get(label)
        if kind is not None:
            raise _Stopped(AuthFailed(kind=kind, text=said, left=False))
        why = labels.REJECTED.get(label, "other")
        raise _Stopped(Rejected(code=label, kind=why, text=said, left=False))


def _stands(answer: Answer, wanted: AccountSettings) -> bool:
    seen = holdings.arranged(answer.body, hedge=wanted.hedge)
    return bool(seen) and all(_as_wanted(one, wanted) for one in seen)


def _as_wanted(seen: Position, wanted: AccountSettings) -> bool:
    if seen.margin_mode != wanted.margin_mode:
        return False
    return wanted.leverage is None or seen.own_leverage == Decimal(wanted.leverage)
