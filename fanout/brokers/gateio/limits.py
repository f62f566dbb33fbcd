"""How fast one account may speak to Gate.io futures, by kind of endpoint, and the one door through it.

Gate counts per user id, which is one account of ours: placing and amending together, cancelling,
and every other private endpoint by itself over ten seconds. What it says of the rest in
X-Gate-RateLimit-* goes back into the budget that the request came out of.

Placing is waited for in `Broker.turn`, before a lease is looked at; everything else waits here.
"""

from __future__ import annotations

from datetime import datetime

from fanout.brokers.gate.client import GateClient
from fanout.brokers.gate.reading import Answer, rate_hint
from fanout.brokers.gate.request import Request
from fanout.brokers.gateio.settings import GateioSettings
from fanout.budget import Budgets, Pace
from fanout.ports import BrokerAccount

ASKING_WINDOW_S = 10.0
_CANCELS = ("batch_cancel_orders", "autoorder/v1/trail/stop")


class Limits:
    """The budgets of all accounts of this process."""

    def __init__(self, settings: GateioSettings, placing: Pace | None = None) -> None:
        """`placing`: in place of a budget of this process alone."""
        self.placing: Pace = placing or Budgets(
            limit=settings.orders_per_s, window_s=1.0, burst=settings.orders_burst
        )
        cancels = settings.cancels_per_s
        self.cancelling: Pace = Budgets(limit=cancels, window_s=1.0, burst=max(1, cancels // 2))
        self._asks = settings.asks_per_10s
        self._asking: dict[str, Budgets] = {}

    def of(self, request: Request) -> Pace:
        """The budget that the request comes out of; placing is paid for in turn()."""
        where = request.path.split("/futures/", 1)[-1].split("/", 1)[-1]
        if where.startswith("orders") and request.method in ("POST", "PUT"):
            return self.placing
        if where in _CANCELS or (request.method == "DELETE"):
            return self.cancelling
        return self._asked(f"{request.method} {where.split('/', 1)[0]}")

    def _asked(self, kind: str) -> Budgets:
        if kind not in self._asking:
            self._asking[kind] = Budgets(
                limit=self._asks, window_s=ASKING_WINDOW_S, burst=max(1, self._asks // 2)
            )
        return self._asking[kind]


class Door:
    """Signed questions within the limits."""

    def __init__(self, client: GateClient, limits: Limits) -> None:
        self.client = client
        self.limits = limits

    async def ask(self, account: BrokerAccount, request: Request) -> Answer:
        """Wait, sign, send, and learn from the headers. Raises NotSent or NoAnswer."""
        limiter = self.limits.of(request)
        await limiter.wait(account.account_id, closes=limiter is self.limits.cancelling)
        answer = await self.client.ask(account, request)
        learn(limiter, account, answer, self.client.time.now())
        return answer


def learn(limiter: Pace, account: BrokerAccount, answer: Answer, now: datetime) -> None:
    """Pass on what the answer says of the limit."""
    hint = rate_hint(answer, now)
    if hint is not None:
        limiter.hint(account.account_id, remaining=hint[0], reset_in_s=hint[1])
