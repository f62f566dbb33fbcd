"""The OpenAPI 3.1 document, from the same operations and types that the requests go through.

Nothing in it is written twice: parameters and bodies are the structs that decode them, answers the
structs that are encoded, problems the rows of gateway/problems.py. The same operations give the
same bytes. Served at /v1/openapi.json, shown at /v1/docs, printed by `portcullis openapi`.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from gateway.admin.operation import Operation
from gateway.admin.reading import WHY_MAX_CHARS, media_types, path_types
from gateway.admin.schemas import NULL, REF, Schema, Schemas
from gateway.problems import MEDIA_TYPE, PROBLEMS, Body
from tenancy.roles import ROLES


class Problem(Body, frozen=True, omit_defaults=True):
    """A refusal (RFC 9457). `code` is stable and is what programs look at; `field` is the place in the
    input, `trace_id` the name under which the logs and the audit log have it."""


DESCRIPTION = """
Everything an asset manager's administrator, trader, compliance officer and developer sets up and sees.

- **Who calls**: `Authorization: Bearer pck_…` (a service key), a session (its cookie, and the header
  `Portcullis-CSRF` with every change), or a client certificate.
- **Errors** are RFC 9457 problems with a stable `code`; docs/codes.md has each one's meaning and remedy.
- **Changes** of an object carry `If-Match` with the ETag that was read; PATCH is a JSON Merge Patch
  (RFC 7396), where null takes a member away. A change that the tenant wants a second person for is
  answered 202 with a proposal, and nothing has happened yet.
- **Repeats**: a POST under the same `Idempotency-Key` within a day is answered as the first was, and
  causes nothing new. Secrets that are shown once are null in such a repeat.
- **Pages**: `limit` and `cursor`; `next` is there where more may follow.
- **Decimals** are strings; whole and decimal numbers are read too, to the last digit. **Times** are RFC 3339, UTC.
""".strip()

HEADERS: dict[str, Schema] = {
    "ETag": {
        "description": 'The object\'s revision, such as `"3"`: what If-Match of a change needs.',
        "schema": {"type": "string", "pattern": r'^"[0-9]+"$'},
    },
    "Location": {
        "description": "Where the object, or the proposal, is.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "IdempotencyReplayed": {
        "description": "`true` where this is the answer of an earlier request under the same key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "RateLimit": {
        "description": "What is left of each quota (draft-ietf-httpapi-ratelimit-headers).",
        "schema": {"type": "string"},
    },
    "RateLimitPolicy": {
        "description": "The quotas that the request was counted for.",
        "schema": {"type": "string"},
    },
    "RetryAfter": {
        "description": "Seconds to wait before the request is sent again.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "WWWAuthenticate": {
        "description": "Which authentication is wanted (RFC 9110).",
        "schema": {"type": "string"},
    },
}

PARAMETERS: dict[str, Schema] = {
    "IfMatch": {
        "name": "If-Match", "in": "header", "required": True, "example": '"3"',
        "description": "The ETag of what was read, or `*` to overwrite whatever is there.",
        "schema": {"type": "string", "pattern": r'^((W/)?"[0-9]{1,18}"|\*)$'},
    },
    "IfMatchDigest": {
        "name": "If-Match", "in": "header", "required": True, "example": "*",
        "description": "The ETag of what the change was made for, or `*` for whatever is there.",
        "schema": {"type": "string", "pattern": r'^((W/)?"[0-9a-f]{64}"|\*)$'},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key", "in": "header",
        "description": "Any text of one's own that names this request: a repeat under it causes nothing new.",
        "schema": {"type": "string", "pattern": '^"?[!#-~]{1,255}"?$'},
    },
    "Reason": {
        "name": "Portcullis-Reason", "in": "header",
        "description": "Why: it stands in the object's history and in the audit log. UTF-8.",
        "schema": {"type": "string", "maxLength": WHY_MAX_CHARS, "pattern": "^[ -~]*$"},
    },
    "Tenant": {
        "name": "Portcullis-Tenant", "in": "header",
        "description": "For a platform operator who was let into a customer's tenant: which one.",
        "schema": {"type": "string", "format": "uuid"},
    },
}  # fmt: skip

SECURITY: dict[str, Schema] = {
    "bearer": {
        "type": "http", "scheme": "bearer",
        "description": "A service key, `pck_…`: shown once, scoped, expiring, from its own addresses.",
    },
    "session": {
        "type": "apiKey", "in": "cookie", "name": "__Host-portcullis_session",
        "description": "A person who signed in at /v1/sessions.",
    },
    "csrf": {
        "type": "apiKey", "in": "header", "name": "Portcullis-CSRF",
        "description": "With every change over a session's cookie: `csrf_token` of GET /v1/sessions/current.",
    },
    "certificate": {
        "type": "mutualTLS",
        "description": "A client certificate that belongs to a service key.",
    },
}  # fmt: skip


def document(operations: Sequence[Operation]) -> Schema:
    """The whole document, as JSON has it. Raises ValueError, TypeError for what cannot be described."""
    schemas = _schemas(operations)
    paths: dict[str, Schema] = defaultdict(dict)
    for operation in operations:
        made = _operation(operation, schemas)
        if links := _links(operation, operations):
            made["responses"]["201"]["links"] = links
        paths[operation.path][operation.method.lower()] = made
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis", "version": version("portcullis"),
            "description": DESCRIPTION,
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(op.tag for op in operations)],
        "paths": dict(paths),
        "components": {
            "schemas": schemas.components(),
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "responses": _refusals(operations),
            "securitySchemes": SECURITY,
        },
    }  # fmt: skip


def text_of(operations: Sequence[Operation]) -> bytes:
    """The document as UTF-8 JSON, for people's eyes too."""
    return msgspec.json.format(msgspec.json.encode(document(operations)), indent=2) + b"\n"


def codes(operation: Operation) -> dict[int, list[str]]:
    """Every problem that the operation may answer with: status → codes."""
    found = {"invalid", "too_large", "internal", "unavailable", *operation.problems}
    if operation.action is not None:
        found |= {"bad_key", "forbidden", "rate_limited", "bad_request"}
        if operation.changes:
            found |= {"outcome_unknown"}
    if operation.changes:
        found |= {"bad_request"}
    if operation.body is not None or operation.merge_patch is not None:
        found |= {"unsupported_media_type"}
    if operation.conditional:
        found |= {"bad_request", "if_match_needed", "stale_revision"}
    if operation.once:
        found |= {"idempotency_conflict"}
    if "{" in operation.path:
        found |= {"not_found"}
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in sorted(found):
        by_status[PROBLEMS[code].status].append(code)
    return dict(sorted(by_status.items()))


def _schemas(operations: Sequence[Operation]) -> Schemas:
    out: list[Any] = [Problem]
    into: list[Any] = []
    patched: list[Any] = []
    for operation in operations:
        out += [kind for kind in (operation.answer, *operation.also.values()) if kind is not None]
        into += [kind for kind in (operation.body,) if kind is not None]
        into += path_types(operation).values()
        if operation.query is not None:
            into += [field.type for field in msgspec.structs.fields(operation.query)]
        if operation.merge_patch is not None:
            patched.append(operation.merge_patch)
    return Schemas(out, into, patched)


def _operation(operation: Operation, schemas: Schemas) -> Schema:
    made: Schema = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": _told(operation),
        "parameters": [*_parameters(operation, schemas)],
        "responses": _answers(operation, schemas),
        "security": _security(operation),
    }
    if operation.body is not None:
        content = {
            kind: {"schema": schemas.of(operation.body, "in")} for kind in media_types(operation)
        }
        made["requestBody"] = {"required": True, "content": content}
    if operation.merge_patch is not None:
        patch = schemas.of(operation.merge_patch, "patch")
        made["requestBody"] = {
            "required": True,
            "content": {kind: {"schema": patch} for kind in media_types(operation)},
        }
    return made


def _told(operation: Operation) -> str:
    """The docstring of what answers, or what is written for people in its place; and who may."""
    told = [inspect.cleandoc(operation.detail)] if operation.detail else []
    match operation.action:
        case None:
            told.append("Open to anybody who reaches the management listener.")
        case "self":
            told.append("For everybody who is signed in.")
        case action:
            roles = ", ".join(role for role in ROLES if action in ROLES[role])
            told.append(f"Needs `{action}`, which these roles have: {roles or 'none'}.")
    if operation.platform:
        told.append("Within the platform's own tenant only.")
    return "\n\n".join(told)


def _security(operation: Operation) -> list[Schema]:
    if operation.action is None:
        return []
    session: Schema = {"session": [], "csrf": []} if operation.method != "GET" else {"session": []}
    return [{"bearer": []}, session, {"certificate": []}]


def _parameters(operation: Operation, schemas: Schemas) -> Iterable[Schema]:
    for name, kind in path_types(operation).items():
        yield {"name": name, "in": "path", "required": True, "schema": schemas.of(kind, "in")}
    if operation.query is not None:
        for field in msgspec.structs.fields(operation.query):
            yield _query(field, schemas.of(field.type, "in"))
    named = {
        "IfMatch": operation.conditional and not operation.digest,
        "IfMatchDigest": operation.conditional and operation.digest,
        "IdempotencyKey": operation.once,
        "Reason": operation.changes,
        "Tenant": operation.action is not None,
    }
    for name, wanted in named.items():
        if wanted:
            yield {"$ref": f"#/components/parameters/{name}"}


def _query(field: msgspec.structs.FieldInfo, schema: Schema) -> Schema:
    """An absent parameter stands for null: the address has no word for it."""
    schema = dict(schema)
    rest = [part for part in schema.get("anyOf", ()) if part != NULL]
    if len(rest) == 1:
        schema = {key: value for key, value in schema.items() if key != "anyOf"} | rest[0]
    elif rest:
        schema["anyOf"] = rest
    made: Schema = {"name": field.encode_name, "in": "query", "required": field.required}
    if "description" in schema:
        made["description"] = schema.pop("description")
    if field.default is not msgspec.NODEFAULT and field.default is not None:
        schema["default"] = msgspec.to_builtins(field.default)
    return {**made, "schema": schema}


def _answers(operation: Operation, schemas: Schemas) -> Schema:
    made = {str(operation.status): _yes(operation, operation.status, operation.answer, schemas)}
    for status, kind in sorted(operation.also.items()):
        made[str(status)] = _yes(operation, status, kind, schemas)
    for status, found in codes(operation).items():
        made[str(status)] = {"$ref": f"#/components/responses/{'.'.join(found)}"}
    return dict(sorted(made.items()))


def _yes(operation: Operation, status: int, kind: Any, schemas: Schemas) -> Schema:
    made: Schema = {"description": _STATUS.get(status, "Done.")}
    headers = list(_headers(operation, status))
    if headers:
        made["headers"] = {name: {"$ref": f"#/components/headers/{ref}"} for name, ref in headers}
    content: Mapping[str, Schema] = {}
    if operation.stream:
        content = {"text/event-stream": {"schema": {"type": "string"}}}
    elif operation.html or (operation.media and kind is None):
        content = {media: {} for media in operation.media or ("text/html",)}
    elif kind is not None:
        schema = schemas.of(kind, "out")
        if operation.shows_once and status == operation.status:
            schema = {"allOf": [schema, _once(operation)]}
        content = {"application/json": {"schema": schema}}
        content |= {media: {"schema": {"type": "string"}} for media in operation.media}
    return {**made, "content": content} if content else made


_STATUS: dict[int, str] = {
    200: "As it is now.",
    201: "Made.",
    202: "Waits for a second person: nothing has changed yet.",
    204: "Done; there is nothing to say.",
    303: "Goes on elsewhere.",
}


def _once(operation: Operation) -> Schema:
    text = "Shown this once and kept nowhere: null in a repeat under the same Idempotency-Key."
    if not operation.always_shows:
        text += " Absent where there is none of ours."
    once: Schema = {"description": text}
    made: Schema = {
        "type": "object",
        "properties": {member: dict(once) for member in operation.shows_once},
    }
    return made | {"required": list(operation.shows_once)} if operation.always_shows else made


def _headers(operation: Operation, status: int) -> Iterable[tuple[str, str]]:
    if status in (200, 201) and "revision" in getattr(operation.answer, "__struct_fields__", ()):
        yield "ETag", "ETag"
    if status in (201, 202):
        yield "Location", "Location"
    if operation.action is not None:
        yield "RateLimit", "RateLimit"
        yield "RateLimit-Policy", "RateLimitPolicy"
        if operation.once:
            yield "Idempotency-Replayed", "IdempotencyReplayed"


def _links(operation: Operation, operations: Sequence[Operation]) -> Schema:
    """From what was made to what can be done with it: its id and its ETag go on."""
    members = getattr(operation.answer, "__struct_fields__", ())
    links: Schema = {}
    for other in operations if operation.status == 201 else ():
        names = list(path_types(other))
        if other.path.startswith(operation.path + "/") and len(names) == 1 and names[0] in members:
            given = {names[0]: f"$response.body#/{names[0]}"}
            if other.conditional:
                given["header.If-Match"] = "$response.header.ETag"
            links[other.name] = {"operationId": other.name, "parameters": given}
    return links


def _refusals(operations: Sequence[Operation]) -> Schema:
    """Each set of codes that shares a status at some operation, once, under its codes' names."""
    every = {(status, tuple(found)) for op in operations for status, found in codes(op).items()}
    return {".".join(found): _no(status, found) for status, found in sorted(every)}


def _no(status: int, found: Sequence[str]) -> Schema:
    told = "\n".join(
        f"- `{code}`: {PROBLEMS[code].title}. {PROBLEMS[code].remedy}" for code in found
    )
    schema = {
        "allOf": [
            {"$ref": REF + "Problem"},
            {"properties": {"code": {"enum": list(found)}, "status": {"const": status}}},
        ]
    }
    made: Schema = {
        "description": told,
        "content": {MEDIA_TYPE.decode(): {"schema": schema}},
    }
    extra = {401: [("WWW-Authenticate", "WWWAuthenticate")], 429: [("Retry-After", "RetryAfter")]}
    extra[503] = extra[429]
    if status in extra:
        made["headers"] = {
            name: {"$ref": f"#/components/headers/{ref}"} for name, ref in extra[status]
        }
    return made
