"""The whole tenant as one document: read it, see what another one would change, bring it about.

Applying, in one transaction and all or nothing:

1. One at a time per tenant, by a lock on its row (readers and signals are not held up).
2. The configuration as it is; its digest is the one that the difference was shown against, else 412.
3. The steps between (gateway/admin/steps.py), each a change that its section's own action allows.
4. Four eyes: where one step needs a second person, **the whole file becomes one proposal** and
   nothing else happens. Half a file is nobody's intention, and one person can judge one difference
   where five hundred proposals would be waved through. The proposal holds exactly the entries that
   change, before and after; approved, it is carried out only where they all still are as they were.
5. Each section's changes together (gateway/admin/together.py): rows, revisions, audit records.

A crash before the commit leaves the tenant as it was. Hooks that begin have no secret yet: secrets
are made one by one, and shown once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import msgspec

from audit.record import Kind
from gateway.admin import changes, together
from gateway.admin.changes import By, by
from gateway.admin.declared import (
    BY_NAME,
    SECTIONS,
    Configuration,
    Key,
    called,
    configuration_of,
    digest,
    entries,
    tidy,
)
from gateway.admin.errors import Forbidden, Malformed
from gateway.admin.objects import Proposed
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.steps import Changed, Standing, Step, Tenant, shown, steps
from gateway.admin.together import Wanted
from tenancy.database import Connection
from tenancy.errors import Conflict, Stale
from tenancy.ids import new_id
from tenancy.store import batches, documents
from tenancy.store.proposals import Proposal
from tenancy.store.tenants import read_settings

BODY_MAX_BYTES = 16 * 1024 * 1024
TAG = "Configuration"


class Prune(msgspec.Struct, frozen=True, kw_only=True):
    """Whether what the document does not mention is archived."""

    prune: bool = False


class Differences(msgspec.Struct, frozen=True, kw_only=True):
    """What a document would change. `digest`: of the configuration that it was compared with.

    `second_person`: the categories of four eyes for which the whole would wait for a second person.
    """

    digest: str
    changes: list[Changed]
    second_person: list[str]


async def current(conn: Connection) -> Tenant:
    """The tenant as it is, each section in the order of its names. Raises Conflict where two share one."""
    names: dict[str, dict[str, Key]] = {}
    found: dict[str, dict[Key, Standing]] = {}
    for section in SECTIONS:
        rows = await batches.read_all(conn, section.kind.table, documents.page)
        standing: dict[Key, Standing] = {}
        for stored in rows:
            if stored.facts.get("shadow_of") is not None:
                continue  # a shadow is no setting: it is made for one subscription, and ends with it
            entry = section.entry_of(stored.document, names)
            key = section.key_of(entry)
            if key in standing:
                noun = section.kind.table.noun
                raise Conflict(
                    f"two of this tenant's {section.name} are called {called(key)}: a file tells"
                    f" them apart by name alone, so give the {noun} {stored.object_id} a name of"
                    " its own first"
                )
            standing[key] = Standing(stored, entry)
        names[section.name] = {s.stored.object_id: key for key, s in standing.items()}
        found[section.name] = dict(sorted(standing.items()))
    return found


def declared(now: Tenant) -> Any:
    """The document that says the tenant as it is."""
    return configuration_of(
        {name: [s.entry for s in found.values()] for name, found in now.items()}
    )


async def _get(call: Call) -> Result:
    document = declared(await current(call.conn))
    return Result(content=document, headers=(_etag(digest(document)),))


async def _difference(call: Call) -> Result:
    now = await current(call.conn)
    wanted = _wanted(now, steps(now, _canonical(now, call.body), prune=call.query.prune))
    waits = await together.reasons(by(call), [one for _, one in wanted])
    seen = digest(declared(now))
    content = Differences(
        digest=seen,
        changes=[shown(step) for step, _ in wanted],
        second_person=sorted(waits),
    )
    return Result(content=content, headers=(_etag(seen),))


async def _put(call: Call) -> Result:
    author = by(call)
    await _alone(author)
    now = await current(call.conn)
    seen = digest(declared(now))
    if call.if_match is not None and call.if_match != seen:
        raise Stale(
            "the configuration was changed since this difference was shown: look at the difference"
            " again, and apply it to what is there now"
        )
    found = steps(now, _canonical(now, call.body), prune=call.query.prune)
    _permit(call, found)
    wanted = _wanted(now, found)
    waits = await together.reasons(author, [one for _, one in wanted])
    if waits:
        # Tried and taken back: what cannot be done is said to its author, not after somebody's yes.
        async with author.conn.transaction(force_rollback=True):
            await _carry_out(author, wanted)
        proposal = await _propose(author, found, waits)
        return Result(
            status=202,
            content=Proposed(proposal_id=proposal),
            location=f"/v1/proposals/{proposal}",
        )
    await _carry_out(author, wanted)
    after = digest(declared(await current(call.conn))) if found else seen
    content = Differences(digest=after, changes=[shown(step) for step in found], second_person=[])
    return Result(content=content, headers=(_etag(after),))


async def apply_agreed(author: By, proposal: Proposal) -> None:
    """Carry out a proposal of `_propose`. Raises Stale where an entry is not what was seen then."""
    before, after = proposal.before, proposal.after
    await _alone(author)
    now = await current(author.conn)
    found: list[Step] = []
    for section in SECTIONS:
        was, will = (dict((side or {}).get(section.name, {})) for side in (before, after))
        for name in {**was, **will}:
            entry = msgspec.convert(will[name], section.entry) if name in will else None
            old = msgspec.convert(was[name], section.entry) if name in was else None
            key = section.key_of(entry if entry is not None else old)
            standing = now[section.name].get(key)
            if (standing.entry if standing is not None else None) != old:
                raise Stale(
                    f"the {section.kind.table.noun} {called(key)} is not any more what it was when"
                    " this was proposed: apply the file again"
                )
            found.append(
                Step(section=section, key=key, place=f"{section.name}[{name!r}]",
                     standing=standing, entry=entry)
            )  # fmt: skip
    begun = [step for step in found if step.entry is not None]
    ended = [step for step in reversed(found) if step.entry is None]
    await _carry_out(author, _wanted(now, [*begun, *ended]))


def _canonical(now: Tenant, configuration: Any) -> Any:
    """The same document as its kinds would keep it (2.50 is 2.5). Raises Malformed with the place."""
    made: dict[str, list[Any]] = {}
    for section in SECTIONS:
        made[section.name] = []
        for index, entry in enumerate(entries(configuration, section)):
            ids = {target: _AnyName() for target in BY_NAME}
            standing = now[section.name].get(section.key_of(entry))
            before = standing.stored.document if standing is not None else None
            try:
                document = section.document_of(entry, ids, before)
            except ValueError as error:  # msgspec.ValidationError is one
                member, _, text = str(error).partition(": ")
                place = section.place_of(index)
                if text and member.replace("_", "").isalnum():
                    raise Malformed(
                        f"{place}.{member}: {text}", field=f"{place}.{member}"
                    ) from None
                raise Malformed(f"{place}: {error}", field=place) from None
            kept = {
                f: getattr(document, f)
                for f in document.__struct_fields__
                if f not in section.refers and f not in section.kept
            }
            made[section.name].append(tidy(msgspec.structs.replace(entry, **kept)))
    return configuration_of(made)


class _AnyName(dict[Key, UUID | str]):
    """Ids before there are any: for the checks that do not look at them."""

    def __missing__(self, key: Key) -> UUID:
        return UUID(int=0)


def _wanted(now: Tenant, found: Sequence[Step]) -> list[tuple[Step, Wanted]]:
    """The steps as changes, with an id for what begins."""
    ids: dict[str, dict[Key, UUID | str]] = {
        name: {key: one.stored.object_id for key, one in standing.items()}
        for name, standing in now.items()
    }
    for step in found:
        if step.standing is None:
            ids[step.section.name][step.key] = step.section.kind.make_id()

    def document(step: Step) -> Any:
        before = step.standing.stored.document if step.standing is not None else None
        return step.section.document_of(step.entry, ids, before) if step.entry else None

    return [
        (
            step,
            Wanted(
                kind=step.section.kind,
                object_id=ids[step.section.name][step.key],
                stored=step.standing.stored if step.standing is not None else None,
                document=document(step),
                place=step.place or f"{step.section.name} {called(step.key)}",
            ),
        )
        for step in found
    ]


def _permit(call: Call, found: Sequence[Step]) -> None:
    """Nobody changes by a file what they may not change otherwise. Raises Forbidden."""
    for section in SECTIONS:
        touched = any(step.section is section for step in found)
        if touched and section.action not in call.principal.actions:
            raise Forbidden(
                f"{section.action} is needed too: the file changes {section.name}, and this"
                " credential may not"
            )


async def _alone(author: By) -> None:
    """One configuration at a time. The mildest lock of a row: references to it are not held up."""
    await author.conn.execute(
        "SELECT 1 FROM tenants WHERE tenant_id = %s FOR NO KEY UPDATE", (author.scope.tenant_id,)
    )


async def _carry_out(author: By, wanted: Sequence[tuple[Step, Wanted]]) -> None:
    for kind, some in groupby((one for _, one in wanted), key=lambda one: one.kind):
        group = list(some)
        await together.check(author, group)
        await together.carry_out(author, kind, group)


async def _propose(author: By, found: Sequence[Step], waits: frozenset[str]) -> UUID:
    """One proposal for all of it: exactly the entries that change, before and after."""
    before: dict[str, dict[str, Any]] = {}
    after: dict[str, dict[str, Any]] = {}
    for step in found:
        for side, entry in ((before, step.before), (after, step.after)):
            if entry is not None:
                side.setdefault(step.section.name, {})[called(step.key)] = entry
    settings = author.settings or await read_settings(author.conn, author.scope.tenant_id)
    proposal, now = new_id(), author.services.clock.now()
    await author.conn.execute(
        "INSERT INTO proposals (proposal_id, tenant_id, reasons, operation, kind, object_id, base,"
        " before, after, comment, proposed_by, proposed_at, expires_at) VALUES"
        " (%s, %s, %s, 'apply', 'configuration', '', 0, %s::jsonb, %s::jsonb, %s, %s::jsonb, %s, %s)",
        (
            proposal, author.scope.tenant_id, sorted(waits), _json(before), _json(after),
            author.why, _json(author.scope.actor), now,
            now + timedelta(hours=settings.proposal_hours),
        ),
    )  # fmt: skip
    counts = {section.name: sum(s.section is section for s in found) for section in SECTIONS}
    # The log names the difference by its digest: a large one would not fit into a record.
    await changes.record_change(author, Kind.APPROVAL_ASKED, {
        "proposal": str(proposal), "reasons": sorted(waits), "operation": "apply",
        "object": "configuration", "id": "", "objects": counts,
        "sha256": digest([before, after]), "why": author.why,
    })  # fmt: skip
    return proposal


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _etag(value: str) -> tuple[str, str]:
    return ("etag", f'"{value}"')


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="get_configuration", method="GET", path="/v1/configuration", tag=TAG,
        summary="Read the whole tenant as one document; objects refer to each other by name.",
        action="configuration:read", handle=_get, answer=Configuration, problems=("conflict",),
    ),
    Operation(
        name="compare_configuration", method="POST", path="/v1/configuration/difference", tag=TAG,
        summary="See what a document would change, object by object; nothing is changed.",
        action="configuration:read", handle=_difference, body=Configuration, query=Prune,
        answer=Differences, body_max_bytes=BODY_MAX_BYTES, problems=("conflict",),
    ),
    Operation(
        name="put_configuration", method="PUT", path="/v1/configuration", tag=TAG,
        summary="Bring the tenant to the state that a document declares: all of it, or nothing.",
        detail="If-Match is the ETag of the difference that was looked at. Where one change needs a"
        " second person, the whole document becomes one proposal. With prune=true, what the"
        " document does not mention is archived.",
        action="configuration:write", handle=_put, body=Configuration, query=Prune,
        conditional=True, digest=True, answer=Differences, also={202: Proposed},
        body_max_bytes=BODY_MAX_BYTES, problems=("conflict", "stale_revision"),
    ),
)  # fmt: skip
