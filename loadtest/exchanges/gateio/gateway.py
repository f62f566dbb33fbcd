"""One request's way through the venue: who, how often, what goes wrong, what is answered.

1. Signature (private endpoints) and rate limit are judged at the moment of arrival.
2. A fault may now cut, refuse or delay the request; nothing was executed so far.
3. X-Gate-Exptime is judged at the moment of execution, after any delay inside the venue. Gate
   publishes no label for it; REQUEST_EXPIRED is the one whose meaning fits.
4. The order is executed; this step awaits nothing.
5. A fault may now delay, spoil or cut the answer; the order stays executed.

A client that goes away between 1 and 4 stops nothing: the request is the venue's.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

import msgspec
import orjson

from loadtest.exchanges.gateio.auth import authenticate, permitted
from loadtest.exchanges.gateio.endpoints import Call, Endpoint, route
from loadtest.exchanges.gateio.exchange import Exchange
from loadtest.exchanges.gateio.faults import Faults, Rule
from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.limits import Limiter, Limits, TooMany, rate_headers
from loadtest.exchanges.gateio.orders import Arrival
from loadtest.exchanges.gateio.refusal import Refusal


class Request(msgspec.Struct, kw_only=True):
    """An HTTP request as it arrived. `path` without the query, both as sent; `headers` answers to
    lower-case names."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    peer: str


class Answer(msgspec.Struct):
    status: int
    body: bytes
    headers: dict[str, str]
    content_type: str = "application/json"


class HalfOpen(Exception):
    """There is no answer, to this request and to all that follow on its connection, which stays."""


class Cut(Exception):
    """The connection is to be cut without an answer."""


NO_HEADERS: dict[str, str] = {}
MAINTENANCE = b"<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>"


class Gateway:
    """The simulated venue behind HTTP."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.faults = Faults()
        self.limiter = Limiter(Limits())
        self.order_delay_s = 0.0
        self.arrivals = 0
        self.answers: Counter[int] = Counter()

    async def answer(
        self,
        request: Request,
        *,
        account: Account | None = None,
        counted: Callable[[dict[str, str]], None] | None = None,
        source: str = "api",
    ) -> Answer:
        """Raises Cut or HalfOpen where the answer is that there is none.

        `account`: who signed, where that was judged already. `counted` is told the rate limit's
        headers before anything is executed. `source`: the text of orders that have none.
        """
        arrival = Arrival(self.arrivals, self.exchange.monotonic(), self.exchange.now())
        self.arrivals += 1
        headers = NO_HEADERS
        try:
            endpoint, argument = route(request.method, request.path)
            if account is not None:
                permitted(account, request.method, request.path)
            elif not endpoint.public:
                account = self._who(request)
            headers = self._count(endpoint, account, request)
            if counted is not None:
                counted(headers)
            answer = await self._served(
                request, endpoint, argument, account, headers, arrival, source
            )
        except TooMany as refusal:
            answer = self._refuse(refusal, refusal.headers)
        except Refusal as refusal:
            answer = self._refuse(refusal, headers)
        self.answers[answer.status] += 1
        return answer

    async def _served(
        self,
        request: Request,
        endpoint: Endpoint,
        argument: str,
        account: Account | None,
        headers: dict[str, str],
        arrival: Arrival,
        source: str,
    ) -> Answer:
        """Steps 2 to 5."""
        rule = self.faults.choose(
            request.method, request.path, account.key if account else "", request.body
        )
        await self._before(endpoint, rule)
        if rule is not None and rule.kind == "maintenance":
            return Answer(503, MAINTENANCE, {}, "text/html")
        self._in_time(request)
        call = Call(
            exchange=self.exchange,
            account=account,
            argument=argument,
            query=dict(parse_qsl(request.query)) if request.query else {},
            body=request.body,
            decimals=request.headers.get("x-gate-size-decimal") == "1",
            arrival=arrival,
            source=source,
        )
        status, document = endpoint.handler(call)
        if rule is not None:
            return await self._after(rule, status, document, headers)
        return Answer(status, orjson.dumps(document), headers)

    async def shaken(self, path: str) -> int | None:
        """A WebSocket asks to be let in: None, or the status to refuse it with; 0: cut it."""
        rule = self.faults.choose("GET", path, "", b"")
        match rule.kind if rule is not None else "":
            case "drop_before" | "drop_after":
                return 0
            case "429":
                return 429
            case "500_before" | "500_after":
                return 500
            case "maintenance":
                return 503
            case "delay_before" | "delay_after":
                assert rule is not None
                await asyncio.sleep(rule.seconds)
            case "hang_before" | "hang_after":
                assert rule is not None
                await asyncio.sleep(rule.seconds)
                return 0
        return None

    def _who(self, request: Request) -> Account:
        return authenticate(
            self.exchange.accounts,
            request.headers,
            method=request.method,
            path=request.path,
            query=request.query,
            body=request.body,
            peer=request.peer,
            now=self.exchange.now(),
        )

    def _count(
        self, endpoint: Endpoint, account: Account | None, request: Request
    ) -> dict[str, str]:
        weight = 1
        if endpoint.path.endswith("/batch_orders"):
            named = b'"currency_pair"' if "/spot/" in request.path else b'"contract"'
            weight = max(1, request.body.count(named))
        elif endpoint.path.endswith("batch_amend_orders"):
            weight = max(1, request.body.count(b"{"))
        who = account.uid if account else request.peer
        return self.limiter.count(who, endpoint.counts_as, self.exchange.now(), weight)

    async def _before(self, endpoint: Endpoint, rule: Rule | None) -> None:
        if self.order_delay_s and endpoint.counts_as in ("orders", "spot_orders"):
            await asyncio.sleep(self.order_delay_s)
        if rule is None:
            return
        match rule.kind:
            case "drop_before":
                raise Cut
            case "half_open_before":
                raise HalfOpen
            case "429":
                limit = self.limiter.limits.orders_per_s
                raise TooMany(rate_headers(limit, 0, self.exchange.now() + rule.seconds))
            case "500_before":
                raise Refusal("INTERNAL", "internal server error")
            case "hang_before":
                await asyncio.sleep(rule.seconds)
                raise Cut
            case "delay_before":
                await asyncio.sleep(rule.seconds)

    def _in_time(self, request: Request) -> None:
        deadline = request.headers.get("x-gate-exptime")
        if deadline is None:
            return
        if not (deadline.isascii() and deadline.isdigit()):
            raise Refusal("INVALID_PARAM_VALUE", "x-gate-exptime is not a time in milliseconds")
        if self.exchange.now() * 1000 > int(deadline):
            raise Refusal("REQUEST_EXPIRED", "request is past its x-gate-exptime")

    async def _after(
        self, rule: Rule, status: int, document: object, headers: dict[str, str]
    ) -> Answer:
        match rule.kind:
            case "drop_after":
                raise Cut
            case "half_open_after":
                raise HalfOpen
            case "500_after":
                raise Refusal("INTERNAL", "internal server error")
            case "hang_after":
                await asyncio.sleep(rule.seconds)
                raise Cut
            case "delay_after":
                await asyncio.sleep(rule.seconds)
            case "unknown_enum" if isinstance(document, dict):
                document = {**document, "finish_as": "unheard_of", "status": "unheard_of"}
            case "empty_201":
                return Answer(status, b"", headers)
        return Answer(status, orjson.dumps(document), headers)

    def _refuse(self, refusal: Refusal, headers: dict[str, str]) -> Answer:
        self.exchange.refused[refusal.label] += 1
        body = orjson.dumps({"label": refusal.label, "message": refusal.message})
        return Answer(refusal.status, body, headers)
