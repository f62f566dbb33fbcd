"""A test signal: sent to a hook of one's own over the wire, signed with the secret that the caller shows.

The way is a real sender's: the public listener, its certificate, its checks and its rates. So a yes here says that
a sender with this secret gets through, and the signal trades as any other does. The secret is used for this one
message and kept nowhere; we could not fill it in: what we keep of it is sealed (gateway/admin/hook_secrets.py).
"""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID, uuid4

import msgspec
from msgspec import Meta

from gateway.admin.hooks import HOOKS
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.preview import SignalBody
from gateway.sender_kit.portcullis_sender.signing import read_key, signature_headers
from tenancy.errors import Invalid, Unavailable

_TOKEN = re.compile(r"[0-9A-Za-z_-]{43}")
_JSON = {"content-type": "application/json"}


class HookTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`secret`: the hook's, `whsec_…` or `whsk_…`; of a `tradingview` hook its token."""

    secret: Annotated[str, Meta(min_length=1, max_length=200)]
    signal: SignalBody

    def __repr__(self) -> str:
        """Without the secret."""
        return "<HookTest>"


class HookTested(msgspec.Struct, frozen=True, kw_only=True):
    """What the public listener answered: 202 is a yes, and `signal_id` what it is called. `code`, `detail`: its
    own words where it refused."""

    status: int
    message_id: str | None
    signal_id: UUID | None
    code: str
    detail: str


class _Said(msgspec.Struct, rename="camel"):
    """The members of the public listener's answers that are of interest here."""

    signal_id: UUID | None = None
    code: str = ""
    detail: str = ""


async def _test(call: Call) -> Result:
    hook = await HOOKS.stored(call)
    if call.services.post_to_hook is None:
        raise Unavailable(
            "this process does not reach the public listener: send from a shell instead"
        )
    asked: HookTest = call.body
    body = bytes(asked.signal)
    path, message_id, headers = f"/v1/hooks/{hook.object_id}", None, dict(_JSON)
    if hook.document.sender == "tradingview":
        if _TOKEN.fullmatch(asked.secret) is None:
            raise Invalid("secret: a token has 43 characters of A-Z a-z 0-9 _ -", field="secret")
        path += f"/{asked.secret}"
    else:
        message_id = f"msg_{uuid4().hex}"
        headers |= _signed(
            asked.secret, message_id, int(call.services.clock.now().timestamp()), body
        )
    answer = await call.services.post_to_hook(path, headers, body)
    said = _read(answer.body)
    content = HookTested(
        status=answer.status, message_id=message_id, signal_id=said.signal_id,
        code=said.code or ("accepted" if answer.status == 202 else ""), detail=said.detail,
    )  # fmt: skip
    return Result(content=content)


def _signed(secret: str, message_id: str, at: int, body: bytes) -> dict[str, str]:
    """Raises Invalid, without the secret in it."""
    try:
        return signature_headers([read_key(secret)], message_id, at, body)
    except ValueError as error:
        raise Invalid(f"secret: {error}", field="secret") from None


def _read(body: bytes) -> _Said:
    try:
        return msgspec.json.decode(body, type=_Said)
    except msgspec.MsgspecError:
        return _Said(detail="the answer cannot be read")


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="test_hook", method="POST", path="/v1/hooks/{hook_id}/test", tag="Hooks",
        action="signals:send", handle=_test, body=HookTest, answer=HookTested,
        summary="Send a signed signal to a hook over the wire, with a secret of it that you have.",
        detail="It is a signal like any other: what the hook's strategy trades for it is traded. The secret is"
        " used for this one message and not kept.",
        problems=("not_found", "unavailable"),
    ),
)  # fmt: skip
