"""What a key may sign. Pure; a table that refuses whatever it does not name.

The signer is an oracle to whoever reaches its socket: this table, its rate and its audit are the
fence. A stolen worker can place and cancel orders as the gateway does; it cannot withdraw,
transfer, make keys, or reach a path that nobody thought of.
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from hashlib import sha512
from typing import NamedTuple, Protocol

from hsm.errors import SigningRefused

CLOCK_TOLERANCE_S = 60
OPENABLE_PURPOSES = frozenset({"audit", "channel", "hook", "probe", "sdk", "totp"})
"""Purposes of secrets that the signer gives back at all, because using them needs them: a hook's and a
channel's, a person's code, a broker's where its SDK has to see it, the key of a tenant's audit payloads,
and what gateway/admin/key_probe.py makes up. To whom: hsm/openers.py."""

_NAME = r"[0-9A-Za-z_-][0-9A-Za-z_.-]*"  # no dot in front: "." and ".." are no names
_SETTLE = r"/api/v4/futures/(?:usdt|btc|usd)"

_GATEIO = [
    # Futures: orders.
    ("GET POST DELETE", rf"{_SETTLE}/orders"),
    ("GET PUT DELETE", rf"{_SETTLE}/orders/{_NAME}"),
    ("POST", rf"{_SETTLE}/(?:batch_orders|batch_cancel_orders|batch_amend_orders)"),
    ("POST", rf"{_SETTLE}/countdown_cancel_all"),
    ("GET POST DELETE", rf"{_SETTLE}/price_orders"),
    ("GET DELETE", rf"{_SETTLE}/price_orders/{_NAME}"),
    # Futures: reading.
    ("GET", rf"{_SETTLE}/(?:accounts|account_book|positions|my_trades|my_trades_timerange)"),
    ("GET", rf"{_SETTLE}/(?:orders_timerange|position_close|liquidates|fee)"),
    ("GET", rf"{_SETTLE}/(?:positions|dual_comp/positions)/{_NAME}"),
    # Futures: how an account holds its positions. Margin is not moved, risk limits are not raised.
    ("POST", rf"{_SETTLE}/(?:positions|dual_comp/positions)/{_NAME}/leverage"),
    ("POST", rf"{_SETTLE}/(?:positions|dual_comp/positions)/cross_mode"),
    ("POST", rf"{_SETTLE}/dual_mode"),
    # Futures: trailing orders.
    ("POST", rf"{_SETTLE}/autoorder/v1/trail/(?:create|stop)"),
    ("GET", rf"{_SETTLE}/autoorder/v1/trail/list"),
    ("GET", rf"{_SETTLE}/(?:contracts|tickers|order_book)(?:/{_NAME})?"),
    # Spot: orders.
    ("GET POST DELETE", r"/api/v4/spot/orders"),
    ("GET PATCH DELETE", rf"/api/v4/spot/orders/{_NAME}"),
    ("POST", r"/api/v4/spot/(?:batch_orders|cancel_batch_orders|amend_batch_orders)"),
    ("POST", r"/api/v4/spot/countdown_cancel_all"),
    ("GET POST DELETE", r"/api/v4/spot/price_orders"),
    ("GET DELETE", rf"/api/v4/spot/price_orders/{_NAME}"),
    # Spot: reading.
    ("GET", r"/api/v4/spot/(?:accounts|account_book|open_orders|my_trades|fee)"),
    # The account and what its key may do.
    ("GET", r"/api/v4/account/(?:detail|main_keys)"),
    ("GET", r"/api/v4/unified/accounts"),
]

_GATEIO_WS = [
    # Listening to an account's own channels: `method` is the event, `path` the channel. No order goes this way.
    ("subscribe", r"futures\.(?:orders|usertrades|positions|balances)"),
    ("subscribe", r"spot\.(?:orders|usertrades|balances)"),
]

_ALLOWED: dict[str, list[tuple[frozenset[str], re.Pattern[str]]]] = {
    scheme: [(frozenset(methods.split()), re.compile(path)) for methods, path in rows]
    for scheme, rows in (("gateio", _GATEIO), ("gateio_ws", _GATEIO_WS))
}

_SCHEMES_OF = {broker: frozenset({"gateio", "gateio_ws"}) for broker in ("gateio", "gateio_spot")}
"""Which schemes a key of each purpose (broker) may be used with."""

_NOT_OF = {
    "gateio": re.compile(r"(?:/api/v4/spot/|spot\.).*"),
    "gateio_spot": re.compile(r"(?:/api/v4/futures/|futures\.).*"),
}
"""What a key of each purpose never signs, though its scheme could: the other market's requests."""

_QUERY = re.compile(r"[\x21-\x7e]*")


class Signable(Protocol):
    """A broker request as the adapter will send it. `path` with its prefix, `query` un-escaped."""

    @property
    def scheme(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def timestamp(self) -> int:
        """Unix seconds."""
        ...


class Request(NamedTuple):
    """A Signable that nobody has sent."""

    scheme: str
    method: str
    path: str
    query: str
    body: bytes
    timestamp: int


def check_request(request: Signable, now: float) -> None:
    """Raise SigningRefused unless the table names the request and its time is ours ± 60 s."""
    if request.scheme not in _ALLOWED:
        raise SigningRefused(f"no signing scheme {request.scheme!r}")
    if not _names(request.scheme, request.method, request.path):
        raise SigningRefused(f"{request.method} {request.path!r} is not a request we sign")
    if request.scheme == "gateio_ws" and (request.query or request.body):
        raise SigningRefused("a subscription is signed with neither query nor body")
    if request.query and not _QUERY.fullmatch(request.query):
        raise SigningRefused("the query holds a character that is not printable ASCII")
    if abs(request.timestamp - now) > CLOCK_TOLERANCE_S:
        raise SigningRefused(
            f"the request's time is {request.timestamp - now:+.0f} s off the signer's clock"
        )


@lru_cache(maxsize=4096)
def _names(scheme: str, method: str, path: str) -> bool:
    """Whether the table names it. Most requests are one of a few."""
    return any(method in methods and known.fullmatch(path) for methods, known in _ALLOWED[scheme])


def check_purpose(purpose: str, scheme: str) -> None:
    """Raise SigningRefused unless keys of `purpose` are for `scheme`."""
    if scheme not in _SCHEMES_OF.get(purpose, ()):
        raise SigningRefused(f"a key for {purpose!r} does not sign {scheme!r} requests")


def check_market(purpose: str, path: str) -> None:
    """Raise SigningRefused where `path` is of a market that keys of `purpose` are not for."""
    other = _NOT_OF.get(purpose)
    if other is not None and other.fullmatch(path):
        raise SigningRefused(f"a key for {purpose!r} does not sign {path!r}")


def check_opening(purpose: str) -> None:
    """Raise SigningRefused unless secrets of `purpose` may be given back."""
    if purpose not in OPENABLE_PURPOSES:
        raise SigningRefused(f"a secret for {purpose!r} is not opened")


def text_to_sign(request: Signable) -> bytes:
    """Gate API v4: METHOD, path, query, hex SHA-512 of the body, seconds; one line each.

    Its WebSocket: channel, event and seconds. It can never be read as the other: it has no line break.
    """
    if request.scheme == "gateio_ws":
        said = f"channel={request.path}&event={request.method}&time={request.timestamp}"
        return said.encode("ascii")
    digest = sha512(request.body).hexdigest()
    return (
        f"{request.method}\n{request.path}\n{request.query}\n{digest}\n{request.timestamp}"
    ).encode("ascii")


def checkpoint_origin(text: bytes) -> str:
    """The origin of a C2SP tlog-checkpoint body. Raises SigningRefused for any other text.

    Three lines and nothing else: origin, decimal size, base64 of a 32-byte root.
    """
    try:
        origin, size, root, rest = text.decode("utf-8").split("\n")
        raw = base64.b64decode(root, validate=True)
    except ValueError:
        raise SigningRefused("not a checkpoint: three lines are needed") from None
    plain = origin and origin.isprintable() and not re.search(r"[\s+]", origin)
    whole = len(raw) == 32 and base64.b64encode(raw).decode() == root and rest == ""
    if not (plain and whole and re.fullmatch(r"0|[1-9][0-9]{0,18}", size, re.ASCII)):
        raise SigningRefused("not a checkpoint: origin, decimal size and root are needed")
    return origin
