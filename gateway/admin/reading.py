"""From a request's bytes to typed values: query, body, patch and the headers that mean something.

Bodies are bounded and of one media type; unknown members are refused with their path, because a
typo in a setting loses money.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin
from uuid import UUID

import msgspec
import msgspec.inspect
from msgspec import Meta
from starlette.requests import Request

from gateway import body as gateway_body
from gateway.admin.errors import BadRequest, IfMatchNeeded, Malformed, WrongMediaType
from gateway.admin.operation import Operation
from tenancy.decimals import refuse_loose_decimals
from tenancy.errors import UNREADABLE, NotFound
from tenancy.values import utc, whole

BODY_MAX_BYTES = 1024 * 1024
BODY_TIMEOUT_S = 20.0
WHY_MAX_CHARS = 1000
_ETAG = re.compile(r'(?:W/)?"(\d{1,18})"', re.ASCII)
_DIGEST = re.compile(r'(?:W/)?"([0-9a-f]{64})"', re.ASCII)
_PATH = re.compile(r" - at `\$\.?([^`]*)`$")
_MEMBER = re.compile(r"([a-z_]+): ")
JSON_TYPES = ("application/json",)
PATCH_TYPES = ("application/merge-patch+json", "application/json")
_PLACE = re.compile(r"{(\w+)}")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""An escape of U+0000 that is no escaped backslash: PostgreSQL keeps no such text."""

PLACES: dict[str, Any] = {
    "key_id": Annotated[str, Meta(pattern=whole("[0-9a-f]{16}"))],
    "hook_id": Annotated[str, Meta(pattern=whole("[A-Za-z0-9_-]{32}"))],
    "order_id": Annotated[str, Meta(pattern=whole("[!-.0-~]{1,100}"))],
}
"""Names in addresses that stand for something else than a UUID, wherever they are."""
WORD = Annotated[str, Meta(min_length=1, max_length=100, pattern=whole("[!-.0-~]+"))]


def path_types(operation: Operation) -> dict[str, Any]:
    """What the address names, and the types: as the operation says, else a UUID for `…_id`, else a word."""
    types: dict[str, Any] = {}
    for name in _PLACE.findall(operation.path):
        otherwise = UUID if name.endswith("_id") else WORD
        types[name] = operation.places.get(name, PLACES.get(name, otherwise))
    return types


def read_path(operation: Operation, request: Request) -> dict[str, str]:
    """What the address names. Raises NotFound for what no object can be called."""
    given = {name: str(value) for name, value in request.path_params.items()}
    for name, kind in path_types(operation).items():
        try:
            msgspec.convert(given[name], kind)
        except msgspec.ValidationError:
            raise NotFound(f"there is no such {name.removesuffix('_id')}") from None
    return given


def read_query(operation: Operation, request: Request) -> Any:
    """The query's parameters. Raises Malformed for an unknown, repeated or wrong one."""
    names: list[str] = [name for name, _ in request.query_params.multi_items()]
    allowed = operation.query.__struct_fields__ if operation.query is not None else ()
    for name in names:
        if name not in allowed:
            if operation.foreign_query:
                continue
            known = ", ".join(allowed) or "none"
            raise Malformed(
                f"query parameter {name[:40]!r} is not known; known: {known}", field=name[:40]
            )
        if names.count(name) > 1:
            raise Malformed(f"query parameter {name!r} is given more than once", field=name)
        if "\0" in request.query_params[name]:
            raise Malformed(f"query parameter {name!r}: U+0000 cannot be kept", field=name)
    if operation.query is None:
        return None
    types = _query_types(operation.query)
    given = {
        name: _converted(
            text, types[name], f"query parameter {name}", strict=_is_time(types[name]), field=name
        )
        for name, text in request.query_params.items()
        if name in types
    }
    for name, value in given.items():
        if isinstance(value, datetime):
            given[name] = _in_utc(value, name)
    return _converted(given, operation.query, "query parameter", strict=True)


def _in_utc(at: datetime, name: str) -> datetime:
    try:
        return utc(at, f"query parameter {name}")
    except ValueError as error:
        raise Malformed(str(error), field=name) from None


@cache
def _query_types(query: Any) -> dict[str, Any]:
    """What each parameter is when it is there: the word null in an address is a word, not nothing."""
    types: dict[str, Any] = {}
    for field in msgspec.structs.fields(query):
        rest = tuple(kind for kind in get_args(field.type) if kind is not type(None))
        is_union = get_origin(field.type) in (Union, UnionType)
        types[field.encode_name] = Union[rest] if is_union else field.type  # noqa: UP007
    return types


def media_types(operation: Operation) -> tuple[str, ...]:
    """What a body may be sent as."""
    return PATCH_TYPES if operation.method == "PATCH" else JSON_TYPES


@cache
def _is_time(kind: Any) -> bool:
    """A time is RFC 3339 text: leniently read, a number would be seconds since 1970."""
    info = msgspec.inspect.type_info(kind)
    while isinstance(info, msgspec.inspect.Metadata):  # a description is around it
        info = info.type
    return isinstance(info, msgspec.inspect.DateTimeType)


async def read_body(
    operation: Operation, request: Request
) -> tuple[Any, Mapping[str, Any] | None, bytes]:
    """Body, patch and raw bytes; the first two as the operation wants them."""
    raw = await gateway_body.read_body(
        request.scope["headers"],
        request.receive,
        most_bytes=operation.body_max_bytes or BODY_MAX_BYTES,
        timeout_s=BODY_TIMEOUT_S,
    )
    if operation.merge_patch is not None:
        _typed(request, media_types(operation))
        return None, _patch(raw), raw
    if operation.body is not None:
        _typed(request, media_types(operation))
        return _decoded(raw, operation.body), None, raw
    if raw:
        raise Malformed("this operation takes no body")
    return None, None, raw


def read_if_match(operation: Operation, request: Request) -> int | str | None:
    """The revision (or, where the operation says so, the digest) in If-Match; None for `*`.

    Raises IfMatchNeeded, BadRequest.
    """
    text = request.headers.get("if-match")
    if not operation.conditional:
        return None
    if text is None:
        raise IfMatchNeeded(
            'If-Match: "<revision>" is needed: the ETag of what you read, or * to overwrite whatever is there'
        )
    if text.strip() == "*":
        return None
    if operation.digest:
        if digest := _DIGEST.fullmatch(text.strip()):
            return digest[1]
        raise BadRequest("If-Match: the ETag of what the change was made for, or * is needed")
    found = _ETAG.fullmatch(text.strip())
    if found is None:
        raise BadRequest('If-Match: one ETag as it was given, such as "3", or * is needed')
    return int(found[1])


def read_why(request: Request) -> str:
    """The reason somebody gives for a change: UTF-8 in the header Portcullis-Reason."""
    text = request.headers.get("portcullis-reason", "")
    try:
        text = text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("Portcullis-Reason: UTF-8 text is needed") from None
    if len(text) > WHY_MAX_CHARS or any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise BadRequest(
            f"Portcullis-Reason: at most {WHY_MAX_CHARS} characters, no control characters"
        )
    return text


def merged(document: msgspec.Struct, patch: Mapping[str, Any]) -> Any:
    """The document after a JSON Merge Patch (RFC 7396), read by its own type. Raises Malformed."""
    before = msgspec.to_builtins(document)
    try:
        after = _merge(before, patch)
        return _converted(after, type(document), "document", strict=True)
    except RecursionError:
        raise Malformed("document: nested deeper than any document is") from None


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merge(result.get(name), value)
    return result


def _typed(request: Request, types: tuple[str, ...]) -> None:
    kind, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = parameters.replace(" ", "").replace('"', "")
    if kind.strip() not in types or charset not in ("", "charset=utf-8"):
        raise WrongMediaType(f"Content-Type: {' or '.join(types)} is needed")


_PATCH: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(
    dict[str, Any], float_hook=Decimal
)
"""Numbers stay what somebody wrote, to the last digit."""


def _patch(raw: bytes) -> dict[str, Any]:
    return _read(_PATCH.decode, raw)


def _decoded(raw: bytes, kind: Any) -> Any:
    value = _read(lambda data: msgspec.json.decode(data, type=kind), raw)
    _plain_decimals(_read(msgspec.json.decode, raw), kind, "body")
    return value


def _plain_decimals(value: Any, kind: Any, what: str) -> None:
    try:
        refuse_loose_decimals(value, kind)
    except ValueError as error:
        raise _malformed(error, what) from None


def _read(decode: Callable[[bytes], Any], raw: bytes) -> Any:
    if _NUL.search(raw):
        raise Malformed("the body holds text with U+0000, which cannot be kept")
    try:
        return decode(raw)
    except msgspec.ValidationError as error:
        raise _malformed(error, "body") from None
    except (*UNREADABLE, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}") from None


def _converted(value: Any, kind: Any, what: str, *, strict: bool, field: str = "") -> Any:
    try:
        converted = msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise _malformed(error, what, field) from None
    _plain_decimals(value, kind, what)
    return converted


def _malformed(error: Exception, what: str, field: str = "") -> Malformed:
    text = str(error)
    found = _PATH.search(text)
    if found is None:
        return Malformed(f"{what}: {text}", field=field)
    place, said = found[1], text[: found.start()]
    if member := _MEMBER.match(said):  # a document's own check says which of its members it means
        place, said = f"{place}.{member[1]}".lstrip("."), said[member.end() :]
    return Malformed(f"{what} {place or 'as a whole'}: {said}", field=place)
