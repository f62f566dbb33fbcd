"""The two cookies: the session's, and the one that ties an OIDC request to its browser.

`__Host-` makes browsers insist on Secure, Path=/ and no Domain (RFC 6265bis, 4.1.3.2). The session's
is SameSite=Strict. The other one must come back with a provider's redirect, hence Lax; it opens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

SESSION_COOKIE = "__Host-portcullis_session"
OIDC_COOKIE = "__Host-portcullis_oidc"

Header = tuple[str, str]


def session_cookie(token: str) -> Header:
    """It ends with the browser, or before that with the session."""
    return _set(f"{SESSION_COOKIE}={token}; SameSite=Strict")


def no_session_cookie() -> Header:
    return _set(f"{SESSION_COOKIE}=; SameSite=Strict; Max-Age=0")


def oidc_cookie(value: str, max_age_s: int) -> Header:
    return _set(f"{OIDC_COOKIE}={value}; SameSite=Lax; Max-Age={max_age_s}")


def no_oidc_cookie() -> Header:
    return _set(f"{OIDC_COOKIE}=; SameSite=Lax; Max-Age=0")


def session_token(cookies: Mapping[str, str]) -> str | None:
    return cookies.get(SESSION_COOKIE)


def _set(text: str) -> Header:
    return ("set-cookie", f"{text}; Path=/; Secure; HttpOnly")
