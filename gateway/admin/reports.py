"""Reports of fairness and best execution: as JSON, as a CSV file, or as a picture."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from gateway.admin.listing import Since, Until
from gateway.admin.operation import Call, Operation, Result
from gateway.answers import Answer, Headers
from gateway.reports.execution import Execution, execution
from gateway.reports.fairness import Fairness, fairness
from gateway.reports.period import period
from gateway.reports.picture import execution_svg, fairness_svg
from gateway.reports.table import execution_csv, fairness_csv
from tenancy.errors import NotFound

Format = Literal["json", "csv", "svg"]
MEDIA: dict[Format, str] = {"csv": "text/csv", "svg": "image/svg+xml"}
_POLICY = b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
"""The picture's colours are in it; nothing else may be loaded or run."""
_NAMES = {
    "strategy": "SELECT name FROM strategies WHERE strategy_id = %b",
    "account": "SELECT name FROM accounts WHERE account_id = %b",
}


class ExecutionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which orders, and how to show them. Without a period: the last 30 days."""

    since: Since | None = None
    until: Until | None = None
    strategy_id: UUID | None = None
    account_id: UUID | None = None
    format: Format | None = None


class FairnessQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Whose orders, and how to show them. Without a period: the last 30 days."""

    strategy_id: UUID
    since: Since | None = None
    until: Until | None = None
    format: Format | None = None


async def _fairness(call: Call) -> Result:
    query: FairnessQuery = call.query
    within = period(query.since, query.until, call.services.clock.now())
    strategy = await _name(call, "strategy", query.strategy_id)
    report = await fairness(call.conn, query.strategy_id, strategy, within)
    return _shown(call, query.format, report, fairness_csv, fairness_svg)


async def _execution(call: Call) -> Result:
    query: ExecutionQuery = call.query
    within = period(query.since, query.until, call.services.clock.now())
    for kind, asked in (("strategy", query.strategy_id), ("account", query.account_id)):
        if asked is not None:
            await _name(call, kind, asked)
    report = await execution(
        call.conn, within, strategy_id=query.strategy_id, account_id=query.account_id
    )
    return _shown(call, query.format, report, execution_csv, execution_svg)


async def _name(call: Call, kind: str, object_id: UUID) -> str:
    """Raises NotFound: a report of nothing because of a wrong id would look like good news."""
    row = await (await call.conn.execute(_NAMES[kind].encode(), (object_id,))).fetchone()
    if row is None:
        raise NotFound(f"there is no {kind} {object_id} in this tenant")
    name: str = row[0]
    return name


def _shown(
    call: Call,
    asked: Format | None,
    report: Any,
    as_csv: Callable[[Any], bytes],
    as_svg: Callable[[Any], bytes],
) -> Result:
    """As the query says, else as Accept does, else JSON."""
    format_ = asked or accepted(call.headers.get("accept", ""))
    if format_ == "json":
        return Result(content=report)
    name = _file(call.operation.name, report.since, report.until, format_)
    disposition = b"attachment" if format_ == "csv" else b"inline"
    headers: Headers = ((b"content-disposition", b'%b; filename="%b"' % (disposition, name)),)
    if format_ == "csv":
        answer = Answer(200, "report", as_csv(report), b"text/csv; charset=utf-8", headers)
    else:
        headers += ((b"content-security-policy", _POLICY),)
        answer = Answer(200, "report", as_svg(report), b"image/svg+xml", headers)
    return Result(content=answer)


def accepted(accept: str) -> Format:
    """The first of our media types in Accept; JSON where it names none. Weights are not read."""
    for part in accept.split(","):
        media = part.partition(";")[0].strip().lower()
        for name, known in MEDIA.items():
            if media == known:
                return name
    return "json"


def _file(operation: str, since: datetime, until: datetime, format_: str) -> bytes:
    kind = operation.removeprefix("get_").removesuffix("_report")
    return f"{kind}-{since:%Y%m%d}-{until:%Y%m%d}.{format_}".encode()


_DETAIL = (
    "JSON, or with `format` (or Accept) a CSV file or an SVG picture. At most 366 days and 200,000 orders:"
    " more is refused."
)
OPERATIONS = (
    Operation(
        name="get_fairness_report", method="GET", path="/v1/reports/fairness", tag="Reports",
        action="orders:read",
        summary="Report how a strategy's accounts fare against each other: place, delay, price.",
        detail=_DETAIL, handle=_fairness, query=FairnessQuery, answer=Fairness,
        media=tuple(MEDIA.values()), problems=("not_found",),
    ),
    Operation(
        name="get_execution_report", method="GET", path="/v1/reports/execution", tag="Reports",
        action="orders:read",
        summary="Report what trading cost, by broker, instrument, hour and order type.",
        detail=_DETAIL, handle=_execution, query=ExecutionQuery, answer=Execution,
        media=tuple(MEDIA.values()), problems=("not_found",),
    ),
)  # fmt: skip
