"""One connection's conversation: ping, subscribe, unsubscribe, and the order API.

Errors of subscriptions have Gate's codes: 1 not understood, 2 a wrong argument, 4 not authenticated.
Requests of the order API run beside each other; what the venue does to them (limits, faults, delays)
is the gateway's, as for REST.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
from collections.abc import Callable

import msgspec
import orjson

from loadtest.exchanges.gateio.auth import within_tolerance
from loadtest.exchanges.gateio.gateway import Answer, Cut, Gateway, HalfOpen, Request
from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.refusal import Refusal
from loadtest.exchanges.gateio.views import Json
from loadtest.exchanges.gateio.ws import order_api
from loadtest.exchanges.gateio.ws.delivery import Delivery
from loadtest.exchanges.gateio.ws.hub import ALL, PRIVATE, PUBLIC, SPOT, Hub
from loadtest.exchanges.gateio.ws.messages import envelope
from loadtest.exchanges.gateio.ws.order_api import ACKNOWLEDGED, LOGIN, Payload

NOT_UNDERSTOOD, WRONG_ARGUMENT, NOT_AUTHENTICATED = 1, 2, 4
_numbers = itertools.count(1)


class _Auth(msgspec.Struct):
    method: str = ""
    KEY: str = ""
    SIGN: str = ""


class _Message(msgspec.Struct):
    channel: str
    time: float = 0
    event: str = ""
    id: int | str | None = None
    payload: msgspec.Raw = msgspec.Raw(b"null")
    auth: _Auth | None = None


class _Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Session:
    """`write` sends one text message, `cut` ends the connection at once."""

    def __init__(
        self,
        gateway: Gateway,
        hub: Hub,
        *,
        write: Callable[[bytes], None],
        cut: Callable[[], None],
        peer: str,
        decimals: bool,
    ) -> None:
        self._gateway = gateway
        self._exchange = gateway.exchange
        self._hub = hub
        self._cut = cut
        self._peer = peer
        self.decimals = decimals
        self._account: Account | None = None
        self._conn_id = hashlib.sha256(str(next(_numbers)).encode()).hexdigest()[:16]
        self._tasks: set[asyncio.Task[None]] = set()
        self._delivery = Delivery(write, cut)

    @property
    def silent(self) -> bool:
        """By a fault: nothing is said, not even that we are there."""
        return self._delivery.silent

    def ended(self) -> None:
        """The connection is gone. Requests under way are the venue's: they go on."""
        self._delivery.close()
        self._hub.forget(self)

    # ------------------------------------------------------------------ out

    def push(self, channel: str, key: str, message: bytes) -> None:
        """Something happened. Faults are for what is pushed, and for answers of the order API."""
        rule = self._gateway.faults.choose_push(channel, key, message)
        self._delivery.push(message, rule)

    def _say(self, document: Json) -> None:
        """Answers to subscriptions and pings are spared by all faults but silence."""
        self._delivery.reply(orjson.dumps(document))

    # ------------------------------------------------------------------ in

    def heard(self, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError as error:
            self._complain("", "", NOT_UNDERSTOOD, f"invalid request body: {error}")
            return
        if message.channel in ("futures.ping", "spot.ping"):
            pong = message.channel.replace("ping", "pong")
            self._say(envelope(pong, "", None, self._exchange.now()))
        elif message.event == "api":
            self._begin(message)
        elif message.event in ("subscribe", "unsubscribe"):
            self._subscription(message)
        else:
            self._complain(
                message.channel, message.event, NOT_UNDERSTOOD, f"unknown event {message.event}"
            )

    def _complain(self, channel: str, event: str, code: int, said: str) -> None:
        error = {"code": code, "message": said}
        self._say(envelope(channel, event, None, self._exchange.now(), error=error))

    # ------------------------------------------------------------------ subscriptions

    def _subscription(self, message: _Message) -> None:
        try:
            account, contracts = self._judged(message)
        except _Refused as refused:
            self._complain(message.channel, message.event, refused.code, str(refused))
            return
        more = {} if message.id is None else {"id": message.id}
        done = envelope(
            message.channel, message.event, {"status": "success"}, self._exchange.now(),
            **more, error=None,
        )  # fmt: skip
        self._say(done)
        act = self._hub.subscribe if message.event == "subscribe" else self._hub.unsubscribe
        act(self, message.channel, contracts, account)

    def _judged(self, message: _Message) -> tuple[Account | None, list[str]]:
        try:
            names = msgspec.json.decode(message.payload, type=list[str | int] | None) or []
        except msgspec.DecodeError:
            raise _Refused(WRONG_ARGUMENT, "payload is not a list of words") from None
        words = [str(name) for name in names]
        if message.channel in PUBLIC:
            if not words and message.event == "subscribe":
                raise _Refused(WRONG_ARGUMENT, "payload names no contract")
            return None, self._known(words)
        if message.channel in SPOT:
            return self._signed(message, "spot"), self._pairs(words) or [ALL]
        if message.channel not in PRIVATE:
            raise _Refused(WRONG_ARGUMENT, f"unknown channel {message.channel}")
        account = self._signed(message)
        if words and words[0].isdigit():
            if words[0] != str(account.uid):
                raise _Refused(WRONG_ARGUMENT, "the user id is not the key's")
            words = words[1:]
        return account, self._known(words) or [ALL]

    def _known(self, words: list[str]) -> list[str]:
        for name in words:
            if name != ALL and name not in self._exchange.books:
                raise _Refused(WRONG_ARGUMENT, f"unknown contract {name}")
        return words

    def _pairs(self, words: list[str]) -> list[str]:
        """Spot's channels name pairs alone, and no user."""
        for name in words:
            if name != ALL and name not in self._exchange.spot.books:
                raise _Refused(WRONG_ARGUMENT, f"unknown currency pair {name}")
        return words

    def _signed(self, message: _Message, product: str = "futures") -> Account:
        auth = message.auth
        if auth is None or auth.method != "api_key":
            raise _Refused(NOT_AUTHENTICATED, "authentication required")
        account = self._exchange.accounts.get(auth.KEY)
        if account is None or account.revoked or product not in account.permissions:
            raise _Refused(NOT_AUTHENTICATED, "invalid key")
        try:
            within_tolerance(message.time, self._exchange.now())
        except Refusal as refusal:
            raise _Refused(NOT_AUTHENTICATED, refusal.message) from None
        what = f"channel={message.channel}&event={message.event}&time={message.time:.0f}"
        expected = hmac.digest(account.secret, what.encode(), "sha512").hex()
        if not hmac.compare_digest(expected.encode(), auth.SIGN.encode()):
            raise _Refused(NOT_AUTHENTICATED, "invalid signature")
        if account.ip_whitelist and self._peer not in account.ip_whitelist:
            raise _Refused(NOT_AUTHENTICATED, "IP not in whitelist")
        return account

    # ------------------------------------------------------------------ order API

    def _begin(self, message: _Message) -> None:
        task = asyncio.get_running_loop().create_task(self._api(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _api(self, message: _Message) -> None:
        received = self._exchange.now()
        try:
            payload = msgspec.json.decode(message.payload, type=Payload)
        except msgspec.DecodeError as error:
            refusal = Refusal("INVALID_REQUEST", f"payload: {error}")
            self._answer(message.channel, "", received, refusal=refusal)
            return
        try:
            account = self._who(message, payload)
            if message.channel == LOGIN:
                self._account = account
                result = {"api_key": account.key, "uid": str(account.uid)}
                self._answer(LOGIN, payload.req_id, received, result=result)
                return
            await self._carried(message.channel, payload, account, received)
        except Refusal as refusal:
            self._answer(message.channel, payload.req_id, received, refusal=refusal)

    def _who(self, message: _Message, payload: Payload) -> Account:
        if message.channel != LOGIN and self._account is not None and not payload.signature:
            return self._account
        now = self._exchange.now()
        accounts = self._exchange.accounts
        return order_api.signer(accounts, message.channel, payload, message.time, now)

    async def _carried(
        self, channel: str, payload: Payload, account: Account, received: float
    ) -> None:
        asked = order_api.rest_call(channel, bytes(payload.req_param))
        given = {name.lower(): value for name, value in (payload.req_header or {}).items()}
        if self.decimals:
            given.setdefault("x-gate-size-decimal", "1")
        request = Request(
            method=asked.method,
            path=asked.path,
            query=asked.query,
            headers=given,
            body=asked.body,
            peer=self._peer,
        )

        def counted(rates: dict[str, str]) -> None:
            if channel in ACKNOWLEDGED:
                echo = {"req_id": payload.req_id, "req_header": payload.req_header}
                result = {**echo, "req_param": orjson.loads(bytes(payload.req_param))}
                self._answer(
                    channel, payload.req_id, received, result=result, rates=rates, ack=True
                )

        try:
            answer = await self._gateway.answer(
                request, account=account, counted=counted, source="apiv4-ws"
            )
        except HalfOpen:
            self._delivery.silence()
        except Cut:
            self._cut()
        else:
            self._pass_on(channel, payload.req_id, received, answer, account.key)

    def _pass_on(
        self, channel: str, req_id: str, received: float, answer: Answer, key: str
    ) -> None:
        document = orjson.loads(answer.body) if answer.body else None
        data = {"result": document} if answer.status < 400 else {"errs": document}
        status = 200 if answer.status < 300 else answer.status
        shown = self._header(channel, req_id, received, status, answer.headers)
        ack = {"ack": False} if channel in ACKNOWLEDGED else {}
        self.push(channel, key, orjson.dumps({"request_id": req_id, **ack, **shown, "data": data}))

    def _answer(
        self,
        channel: str,
        req_id: str,
        received: float,
        *,
        result: Json | None = None,
        refusal: Refusal | None = None,
        rates: dict[str, str] | None = None,
        ack: bool = False,
    ) -> None:
        data: Json = {"result": result}
        if refusal is not None:
            data = {"errs": {"label": refusal.label, "message": refusal.message}}
        status = 200 if refusal is None else refusal.status
        header = self._header(channel, req_id, received, status, rates or {})
        self._say({"request_id": req_id, "ack": ack, **header, "data": data})

    def _header(
        self, channel: str, req_id: str, received: float, status: int, rates: dict[str, str]
    ) -> Json:
        now = self._exchange.now()
        header: Json = {
            "response_time": str(int(now * 1000)),
            "status": str(status),
            "channel": channel,
            "event": "api",
            "client_id": f"{self._peer}-0x{self._conn_id}",
            "x_in_time": int(received * 1e6),
            "x_out_time": int(now * 1e6),
            "conn_id": self._conn_id,
            "conn_trace_id": self._conn_id * 2,
            "trace_id": hashlib.sha256(f"{self._conn_id}{req_id}".encode()).hexdigest()[:32],
        }
        for name, value in rates.items():
            header[name.lower().replace("-", "_").replace("rate_limit", "ratelimit")] = int(value)
        return {"header": header}
