"""What an exception of the SDK says of an order: may it exist? Pure; sorted by name, the SDK is not imported.

| raised by place_order | so | because |
| --- | --- | --- |
| ShioajiValueError, ShioajiTypeError, AccountNotProvideError | Rejected, not sent | the SDK's own look |
| ValidationError (422), BadRequestError (400), AccountNotSignError | Rejected | the server's no |
| TokenError (401), AuthError, CaError | AuthFailed | the server, or the SDK, did not let the request in |
| SystemMaintenance (503) "log in again after 1 minute" | RateLimited | the ban: nothing is taken for that time |
| SystemMaintenance (503) | Maintenance | the server says that it is closed |
| OrderOutcomeUnknownError (409) | InDoubt | it was written to the exchange and nobody answered |
| ShioajiTimeoutError, ShioajiConnectionError, ResponseError, ServerError, others | InDoubt | it may have left |

A 503 is a no here, unlike elsewhere: the server has a status of its own (409) for what was passed on
and not answered.
"""

from __future__ import annotations

import re

from fanout.ports import (
    AuthFailed,
    InDoubt,
    Maintenance,
    Outcome,
    RateLimited,
    Rejected,
    RejectKind,
)

BAN_S = 60.0
BAN_MARGIN_S = 5.0
_BAN = re.compile(r"log\s*-?in again after|after 1 min", re.IGNORECASE)
TEXT_MAX = 300

KINDS: tuple[tuple[str, RejectKind], ...] = (
    ("保證金", "funds"), ("餘額", "funds"), ("額度", "funds"), ("margin", "funds"),
    ("漲跌停", "price"), ("價格", "price"), ("price", "price"),
    ("數量", "size"), ("口數", "size"), ("quantity", "size"),
    ("時間", "session_closed"), ("收盤", "session_closed"), ("closed", "session_closed"),
    ("商品", "instrument"), ("contract", "instrument"),
    ("庫存", "risk"), ("平倉", "risk"), ("position", "risk"),
    ("權限", "permission"), ("未簽署", "permission"),
)  # fmt: skip
"""SinoPac publishes no list of its codes. By words of its texts, the first that fits; else `other`."""


def kind_of(text: str) -> RejectKind:
    lowered = text.lower()
    return next((kind for word, kind in KINDS if word in lowered), "other")


def is_a(error: BaseException, *names: str) -> bool:
    """Whether it is an exception of one of these names, or of a kind of them."""
    return any(each.__name__ in names for each in type(error).__mro__)


def banned(error: BaseException) -> bool:
    """Refused for a minute, and for longer each time that it is not obeyed."""
    return is_a(error, "SystemMaintenance", "ServerError") and bool(_BAN.search(str(error)))


def ends_the_session(error: BaseException) -> bool:
    """Only another login helps, and that is another process: the secret is not kept."""
    return is_a(error, "AuthError") or banned(error)


def words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:TEXT_MAX]


def after_place(error: BaseException) -> Outcome:
    """The table above."""
    text = words(error)
    if is_a(error, "ShioajiValueError", "ShioajiTypeError", "AccountNotProvideError"):
        return Rejected(code=type(error).__name__, kind="other", text=text, left=False)
    if is_a(error, "ValidationError", "BadRequestError"):
        return Rejected(code=type(error).__name__, kind=kind_of(text), text=text)
    if is_a(error, "AccountNotSignError"):
        return Rejected(code="AccountNotSignError", kind="permission", text=text)
    if is_a(error, "AuthError"):
        return AuthFailed(kind="token", text=text)
    if is_a(error, "CaError"):
        return AuthFailed(kind="sign", text=text)
    if banned(error):
        return RateLimited(retry_after_s=BAN_S + BAN_MARGIN_S)
    if is_a(error, "SystemMaintenance"):
        return Maintenance(until=None, text=text)
    return InDoubt(cause=text, not_after=None)
