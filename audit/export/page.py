"""Records as pages for people: one HTML file per thousand, and a first page that leads to them.

Each page is complete in itself: no script, no picture, no font, nothing loaded; its one style sheet
is named by hash in its own Content-Security-Policy, so that text from a payload can never act, and
everything in it is escaped. Prints well. Standard library only: an examiner's reader writes with
this file.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

from audit.export.row import Row

PER_PAGE = 1000
INDEX = "index.html"

STYLE = """
:root{--ink:#1c2430;--soft:#5b6675;--line:#d9dee5;--paper:#fff;--tint:#f5f7fa;--mark:#0b5cad}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ee;--soft:#9aa6b5;--line:#333c48;--paper:#12161c;
--tint:#1a2029;--mark:#7ab8ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:2.5rem 1.5rem 4rem;background:var(--paper);color:var(--ink);
font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 .3rem;letter-spacing:-.01em}
h2{font-size:1.1rem;margin:2.4rem 0 .6rem}
p{max-width:46rem;margin:.4rem 0}.soft{color:var(--soft)}a{color:var(--mark)}
code,pre,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.86em}
pre{background:var(--tint);border:1px solid var(--line);border-radius:6px;padding:.8rem 1rem;overflow-x:auto;
margin:.5rem 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.4rem;margin:1.2rem 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}
th{text-align:left;font-weight:600;color:var(--soft);font-size:.82rem;border-bottom:2px solid var(--line);
padding:.35rem 1rem .35rem 0}
td{border-bottom:1px solid var(--line);padding:.4rem 1rem .4rem 0;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums;color:var(--soft);width:1%;padding-right:1rem}
td.t{white-space:nowrap;font-variant-numeric:tabular-nums}
.kind{display:inline-block;padding:.05rem .5rem;border-radius:1rem;background:var(--tint);
border:1px solid var(--line);white-space:nowrap;font-size:.86em}
summary{cursor:pointer;overflow-wrap:anywhere}summary::marker{color:var(--soft)}
details[open] summary{margin-bottom:.4rem}nav{margin:1.5rem 0;display:flex;gap:1.2rem;flex-wrap:wrap}
@media print{body{max-width:none;padding:0;font-size:10px}details{break-inside:avoid}a{color:inherit}}
"""
_HASH = base64.b64encode(sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"


class Pages:
    """Writes `pages/00001.html` and so on; close() writes `index.html` last, when all is known."""

    needs_cells = False

    def __init__(self, directory: Path, title: str, facts: Sequence[tuple[str, str]]) -> None:
        """`facts`: what the first page says of the export, label and text."""
        self._directory, self._title, self._facts = directory, title, facts
        self._rows: list[Row] = []
        self._pages: list[tuple[str, Row, Row, int]] = []

    def write(self, rows: Sequence[Row], cells: Sequence[list[Any]]) -> None:
        self._rows += rows
        while len(self._rows) > PER_PAGE:
            self._page(self._rows[:PER_PAGE], last=False)
            del self._rows[:PER_PAGE]

    def close(self) -> list[str]:
        if self._pages and self._rows:
            self._page(self._rows, last=True)
        body = [_head(self._title, self._facts)]
        if self._pages:
            body.append(_contents(self._pages))
        else:  # few enough for one page
            body.append(table(self._rows))
        (self._directory / INDEX).write_text(document(self._title, body), encoding="utf-8")
        return [name for name, *_ in self._pages] + [INDEX]

    def _page(self, rows: Sequence[Row], *, last: bool) -> None:
        number = len(self._pages) + 1
        name = f"pages/{number:05}.html"
        before = f'<a href="{number - 1:05}.html">← Before</a>' if number > 1 else ""
        after = "" if last else f'<a href="{number + 1:05}.html">After →</a>'
        nav = f'<nav>{before}<a href="../{INDEX}">Contents</a>{after}</nav>'
        title = f"{self._title}: serial {rows[0].index + 1:,} to {rows[-1].index + 1:,}"
        body = [f"<h1>{escape(title)}</h1>", nav, table(rows), nav]
        path = self._directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(document(title, body), encoding="utf-8")
        self._pages.append((name, rows[0], rows[-1], len(rows)))


def document(title: str, body: Iterable[str]) -> str:
    """A whole page. `body` is HTML already."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _head(title: str, facts: Sequence[tuple[str, str]]) -> str:
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts)
    return (
        f"<h1>{escape(title)}</h1>"
        '<p class="soft">Each record below stands in a signed, append-only log. This page only shows'
        " them: what proves them are the files beside it, and <code>README.md</code> says how to check"
        " them with this package’s own program, with Go, or with openssl alone.</p>"
        f"<dl>{items}</dl>"
    )


def _contents(pages: Sequence[tuple[str, Row, Row, int]]) -> str:
    rows = "".join(
        f'<tr><td><a href="{name}">{first.index + 1:,} to {last.index + 1:,}</a></td>'
        f'<td class="n">{count:,}</td><td class="t">{_time(first)}</td>'
        f'<td class="t">{_time(last)}</td></tr>'
        for name, first, last, count in pages
    )
    return (
        "<h2>Contents</h2><table><thead><tr><th>Serial numbers<th>Records<th>Recorded from<th>to"
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )


def table(rows: Sequence[Row]) -> str:
    """The records, each with everything it says behind its sentence."""
    if not rows:
        return "<p>No record was chosen.</p>"
    lines = "".join(_line(row) for row in rows)
    return (
        "<h2>Records</h2><table><thead><tr><th>Serial<th>Recorded (UTC)<th>What<th>Order<th>Account"
        f"<th>Said</tr></thead><tbody>{lines}</tbody></table>"
    )


def _line(row: Row) -> str:
    leaf = row.members
    actor = leaf["act"]
    order = leaf.get("oid")
    shown = "" if order is None else f"{_brief(order)} <span class=soft>№ {leaf['on']}</span>"
    account = _brief(leaf.get("acct") or "")
    return (
        f'<tr id="s{row.index + 1}"><td class="n">{row.index + 1}</td><td class="t">{_time(row)}</td>'
        f'<td><span class="kind">{escape(leaf["k"])}</span></td><td class="mono">{shown}</td>'
        f'<td class="mono">{account}</td><td><details><summary>{escape(sentence(row))}</summary>'
        f'<span class="soft">by {escape(str(actor.get("kind")))} {escape(str(actor.get("id")))}, '
        f"happened {escape(leaf['ts'])}</span>{_payload(row)}"
        f"<pre>{escape(row.leaf.decode())}</pre></details></td></tr>\n"
    )


def _payload(row: Row) -> str:
    if row.state == "open":
        return f"<pre>{escape(json.dumps(row.said, indent=2, ensure_ascii=False, sort_keys=True))}</pre>"
    words = {
        "sealed": "The content is encrypted in records.jsonl; whoever has the key opens it.",
        "erased": "The content was erased: its key is destroyed. The record and its proof stand.",
        "absent": "The content is not held.",
    }
    return f"<p>{words[row.state]}</p>"


def sentence(row: Row) -> str:
    """What the record says, in one line."""
    if row.state != "open":
        return {"sealed": "sealed", "erased": "erased", "absent": "no content"}[row.state]
    said = row.said
    parts = [
        _joined(said, "side", "order_qty", "symbol", "ord_type"),
        f"at {said['price']}" if said.get("price") is not None else "",
        str(said.get("time_in_force") or ""),
        f"filled {said.get('last_qty')} at {said.get('last_px')}" if said.get("last_qty") else "",
        _joined(said, "event", "object", "operation", "state", "code", "text", "why"),
    ]
    words = " · ".join(part for part in parts if part)
    return words or ", ".join(f"{name} {_short(value)}" for name, value in list(said.items())[:3])


def _brief(name: str) -> str:
    """A long id by its ends; the whole of it is in the record behind the sentence."""
    if len(name) <= 18:
        return escape(name)
    return f'<span title="{escape(name)}">{escape(name[:8])}…{escape(name[-6:])}</span>'


def _joined(said: dict[str, Any], *names: str) -> str:
    return " ".join(_short(said[name]) for name in names if said.get(name) not in (None, ""))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:119] + "…"


def _time(row: Row) -> str:
    """To the millisecond; the record's own text has all nine decimals."""
    text: str = row.members["rt"]
    return escape(text[:10] + " " + text[11:23])
