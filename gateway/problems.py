"""From error code to HTTP status and problem body (RFC 9457): one table for both listeners.

Every error leaves through `problem()`. An exception that nobody expected becomes `internal`
with a trace id and nothing else: what broke is in the log, under that id.
`python -m gateway.problems` prints docs/codes.md; a test keeps that file current.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from gateway.answers import Answer, Headers
from tenancy.errors import PortcullisError, Unavailable

MEDIA_TYPE = b"application/problem+json"
TYPE_PREFIX = "urn:portcullis:problem:"


class Kind(NamedTuple):
    """One row: what the code means and what the caller does about it."""

    status: int
    title: str
    remedy: str


_RESIGN = "Sign as Standard Webhooks says, with a live secret of this hook, and send again."
_AGAIN = "Send the same message again, same webhook-id and body, after Retry-After seconds."

PROBLEMS: dict[str, Kind] = {
    "missing_header": Kind(401, "A signature header is missing", _RESIGN),
    "malformed_header": Kind(401, "A signature header cannot be read", _RESIGN),
    "bad_timestamp": Kind(
        401, "The timestamp is not a number of seconds", "Send webhook-timestamp as Unix seconds."
    ),
    "stale_timestamp": Kind(
        401,
        "The timestamp is outside the time window",
        "Set the sender's clock; sign each attempt anew.",
    ),
    "bad_signature": Kind(
        401, "No signature fits", "Check the hook's address and its secret; sign the raw body."
    ),
    "already_decided": Kind(
        409,
        "The question has its answer",
        "Read it at the signal: an answer is final.",
    ),
    "unresolvable": Kind(
        422,
        "A parameter would come from nowhere",
        "`detail` names subscriptions and parameters: set an override or a default, or use the signal's.",
    ),
    "audit_proof_pending": Kind(
        503,
        "The newest record is not under a published checkpoint yet",
        "Ask again in some seconds.",
    ),
    "audit_unavailable": Kind(503, "No audit record can be written, so nothing was done", _AGAIN),
    "bad_key": Kind(
        401,
        "No valid credential",
        "Send Authorization: Bearer pck_… with a key that is not revoked or expired, from an address"
        " that it allows; or sign in.",
    ),
    "forbidden": Kind(
        403,
        "This credential may not do that",
        "Use one whose role or scopes include the action that `detail` names.",
    ),
    "login_failed": Kind(
        401,
        "Nobody was signed in",
        "Check tenant, e-mail and password. Which of them was wrong is not said.",
    ),
    "second_factor_required": Kind(
        401,
        "A second factor is needed",
        "Go on at /v1/sessions/second-factor with `half_session` and one of `methods`, within five minutes.",
    ),
    "second_factor_failed": Kind(
        401,
        "The second factor does not fit",
        "Wait for the app's next code: each is good once. Check the device's clock.",
    ),
    "session_over": Kind(401, "There is no such session, or it has ended", "Sign in again."),
    "oidc_failed": Kind(
        401,
        "The identity provider signed nobody in whom we know",
        "Begin again in the same browser. An administrator invites people, by the address that the"
        " provider verifies.",
    ),
    "second_factor_enrolment_required": Kind(
        403,
        "A second factor must be enrolled first",
        "Enrol one at /v1/me/factors/totp or /v1/me/factors/webauthn and confirm it; then go on.",
    ),
    "csrf_failed": Kind(
        403,
        "A change over a cookie came without the session's own token",
        "Send Portcullis-CSRF with the `csrf_token` of GET /v1/sessions/current.",
    ),
    "source_not_allowed": Kind(
        403,
        "The token is right, the address it comes from is not",
        "Send from one of the hook's sources, or have the sender's address added to them.",
    ),
    "invalid_signal": Kind(
        422,
        "The body is not a signal",
        "Correct the field that `field` names; the signal language is in the handbook.",
    ),
    "invalid": Kind(422, "The input cannot be used", "Correct what `detail` names."),
    "bad_request": Kind(400, "The request cannot be read", "Correct what `detail` names."),
    "not_found": Kind(404, "No such object", "Check the address and the id."),
    "method_not_allowed": Kind(405, "The method does not fit the address", "See the Allow header."),
    "request_timeout": Kind(408, "The body did not arrive in time", "Send the whole body at once."),
    "message_conflict": Kind(
        409,
        "The message id was used with another body",
        "Use a new webhook-id for a new message; the first one stands.",
    ),
    "conflict": Kind(
        409, "Something that exists stands against it", "Change what `detail` names, or the other."
    ),
    "idempotency_conflict": Kind(
        409, "The Idempotency-Key stands for another request", "Use a new key for a new request."
    ),
    "person_needed": Kind(
        403,
        "A person is needed",
        "Sign in as a person of this tenant; a service key cannot decide.",
    ),
    "own_proposal": Kind(
        403,
        "Nobody approves their own",
        "Ask somebody else to decide; withdraw the proposal if it is no longer wanted.",
    ),
    "preview_over": Kind(
        409,
        "What was previewed is over, or is not what would happen now; nothing was sent",
        "Look at a new preview, and replay that one.",
    ),
    "proposal_closed": Kind(
        409, "The proposal is closed", "Look at its state; propose the change anew if it is wanted."
    ),
    "proposal_failed": Kind(
        409,
        "The proposal was approved and could not be applied; nothing has changed",
        "Read why in `detail`, and propose the change anew on what the object is now.",
    ),
    "keys_missing": Kind(
        409,
        "The HSM does not hold the tenant's keys",
        "Make the tenant's keys and its log key by ceremony on the host, then send the same again.",
    ),
    "export_pending": Kind(
        409,
        "The export is not made yet, or too many wait",
        "Look at the job again in a moment.",
    ),
    "within_retention": Kind(
        409,
        "The records must still be kept",
        "Wait until the day that `detail` names. A person can be restricted meanwhile: ask without `shred`.",
    ),
    "under_hold": Kind(
        409,
        "A legal hold covers the records",
        "Have the hold released first, by two people.",
    ),
    "shred_too_early": Kind(
        503, "The keys were retired a moment ago", "Agree again after Retry-After seconds."
    ),
    "stale_revision": Kind(
        412,
        "The object was changed meanwhile",
        "Read it again and repeat the change with its new ETag in If-Match.",
    ),
    "if_match_needed": Kind(
        428,
        "If-Match is needed",
        "Read the object and send its ETag in If-Match; * overwrites whatever is there.",
    ),
    "invitation_over": Kind(
        410,
        "The invitation is over",
        "Ask an administrator for a new one: each is good once, for seven days.",
    ),
    "too_large": Kind(
        413, "The body is too large", "Send at most the number of bytes in `detail`."
    ),
    "unsupported_media_type": Kind(
        415, "The content type is not JSON", "Send Content-Type: application/json."
    ),
    "login_slowed": Kind(
        429,
        "Too many failures; nothing was checked",
        "Wait for Retry-After seconds. After ten failures that is 15 minutes.",
    ),
    "rate_limited": Kind(
        429,
        "A limit on use is reached",
        "Send the same again after Retry-After seconds; the RateLimit fields say what is left.",
    ),
    "too_many_streams": Kind(
        429,
        "The tenant has as many event streams as it may have",
        "Close one, or share one among your own listeners.",
    ),
    "internal": Kind(
        500, "Something failed here", "Give the trace id to the operator; the log has the rest."
    ),
    "unavailable": Kind(503, "A part that is needed does not answer; nothing was done", _AGAIN),
    "overloaded": Kind(503, "Too much is waiting already; nothing was done", _AGAIN),
    "outcome_unknown": Kind(
        503,
        "It may or may not have been done",
        "Send the same again: a signal under its webhook-id, a POST under its Idempotency-Key; a"
        " repeat causes nothing twice. Anything else: look before acting.",
    ),
}


_OF_SENDERS = frozenset(
    {"missing_header", "malformed_header", "bad_timestamp", "stale_timestamp", "bad_signature"}
)


class Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457, with our extension members `code`, `field` and `trace_id`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    field: str | None = None
    trace_id: str | None = None


def problem(
    code: str,
    detail: str,
    *,
    instance: str,
    field: str | None = None,
    trace_id: str | None = None,
    retry_after_s: int | None = None,
    headers: Headers = (),
    members: Mapping[str, object] | None = None,
) -> Answer:
    """The answer for `code`. A code that the table does not know is a KeyError: add the row.

    `members`: what else the document says (RFC 9457 section 3.2).
    """
    kind = PROBLEMS[code]
    body = Body(
        TYPE_PREFIX + code, kind.title, kind.status, detail, code, instance, field, trace_id
    )
    if kind.status == 401:  # RFC 9110 section 11.6.1: it says which authentication is wanted
        scheme = b"StandardWebhooks" if code in _OF_SENDERS else b"Bearer"
        headers = (*headers, (b"www-authenticate", scheme + b' realm="portcullis"'))
    if retry_after_s is not None:
        headers = (*headers, (b"retry-after", str(max(1, retry_after_s)).encode()))
    content = {**msgspec.to_builtins(body), **members} if members else body
    return Answer(kind.status, code, msgspec.json.encode(content), MEDIA_TYPE, headers)


def problem_of(error: PortcullisError, *, instance: str, trace_id: str | None = None) -> Answer:
    """The answer for an error of ours; one without a row is `internal`, with nothing told."""
    code = error.code
    if code not in PROBLEMS and isinstance(error, Unavailable):
        code = Unavailable.code  # a part's own word for being away (the signer's, the token's)
    if code not in PROBLEMS or code == "internal":
        return internal(instance=instance, trace_id=trace_id)
    retry = 1 if PROBLEMS[code].status == 503 else getattr(error, "retry_after_s", None)
    field = getattr(error, "field", None) or None
    return problem(
        code,
        str(error),
        instance=instance,
        field=field,
        trace_id=trace_id,
        retry_after_s=retry,
        members=getattr(error, "members", None),
    )


def internal(*, instance: str, trace_id: str | None) -> Answer:
    """An exception that nobody expected: its text stays inside."""
    return problem(
        "internal",
        "An error that nobody expected. Its cause is in the log under the trace id.",
        instance=instance,
        trace_id=trace_id,
    )


def codes_page() -> str:
    """docs/codes.md, whole."""
    lines = [
        "# Problem codes",
        "",
        "Every refusal is an RFC 9457 problem document (`application/problem+json`) with a stable `code`.",
        "This page is written by `python -m gateway.problems`; a test keeps it current.",
        "",
        "| code | status | meaning | what to do |",
        "| --- | --- | --- | --- |",
    ]
    for code, kind in sorted(PROBLEMS.items()):
        lines.append(f"| `{code}` | {kind.status} | {kind.title} | {kind.remedy} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(codes_page())
