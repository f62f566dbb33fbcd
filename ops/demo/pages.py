"""What a demo run shows: tables for people, nothing in --json mode.

Every table fits a terminal of 100 columns with one line for each row. What a reader may want to
copy (a command, a path, a proof) is never broken by us, only by the terminal.
"""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fanout.plan import PlanEntry
from fanout.reasons import SENTENCES
from ops.demo.numbers import Result
from ops.trial.cast import Cast
from ops.trial.outcome import Attempt, Story
from ops.trial.sender import Sent
from tenancy.values import plain

WIDTH = 180
"""Where nobody says how wide the page is."""

WIDE = 135
"""From here on the subscriptions' settings have a column of their own."""


class Pages:
    """Prints to `console`, or to nowhere."""

    def __init__(self, *, quiet: bool) -> None:
        self.console = Console(
            quiet=quiet, highlight=False, width=None if sys.stdout.isatty() else WIDTH
        )

    def step(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(f"▸ {text}", style="bold"))

    def say(self, text: str) -> None:
        """A sentence, indented on every line that it takes."""
        self.console.print(Padding(Text(text), (0, 0, 0, 2), expand=False))

    def copy(self, text: str) -> None:
        """Something to be copied: no indent, no line break of ours."""
        self.console.print(Text(text), soft_wrap=True)

    def decisions(self, cast: Cast, sent: Sent, story: Story) -> None:
        """Per account: what was decided, why, what the broker said, how long each step took."""
        wide = self.console.width >= WIDE
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        names = (
            "#",
            "account",
            *(["sizing"] if wide else []),
            "arithmetic",
            "order",
            "answer",
            "ms",
        )
        for name in names:
            table.add_column(name, justify="right" if name in ("#", "ms") else "left")
        by_account: dict[object, list[Attempt]] = {}
        for attempt in story.attempts:
            by_account.setdefault(attempt.account_id, []).append(attempt)
        for entry in story.plan.entries:
            member = cast.member(entry.account_id)
            attempts = by_account.get(entry.account_id, [])
            cells = (
                str(entry.place + 1), member.name, *([member.sizing] if wide else []),
                entry.words.partition(" → ")[0],
                ", ".join(f"{leg.side} {plain(leg.order_qty)}" for leg in entry.legs) or "—",
                "; ".join(map(_answer, attempts)) or _why(entry),
                "; ".join(_times(sent, a) for a in attempts),
            )  # fmt: skip
            table.add_row(*map(Text, cells))  # a broker's words are no markup
        self.console.print()
        self.console.print(table)
        self._legend(story)

    def _legend(self, story: Story) -> None:
        self.console.print()
        self.say(
            "arithmetic: signal × factor, or money / (price × lot), or equity × share × leverage"
        )
        self.say("/ (price × lot); the order is that, rounded down to whole lots")
        for entry in {e.reason: e for e in story.plan.entries if not e.legs}.values():
            self.say(f"{_why(entry)}: {SENTENCES[entry.reason]}")
        self.say("ms: from the webhook to our intent / first byte to the broker / its answer")

    def killed(self, before: int, after: int, wanted: int, story: Story) -> None:
        resolved = [a for a in story.attempts if a.state == "absent"]
        self.say(f"at the kill the exchange had {before} of {wanted} orders")
        self.say(f"after recovery it has {after} of {wanted}, each exactly once")
        self.say(
            f"{len(resolved)} intents were in doubt and proven absent before a new attempt was made"
        )

    def summary(self, result: Result, seconds: float) -> None:
        table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
        for name in ("accounts", "signals", "orders", "fills", "skipped", "lost", "duplicates"):
            table.add_row(name, str(getattr(result, name)))
        table.add_row("audit", result.audit)
        ms = result.latency_ms
        table.add_row("accepted, durable", f"p50 {ms.accept_p50} ms, p99 {ms.accept_p99} ms")
        table.add_row("first order on the wire", f"p50 {ms.first_order_p50} ms")
        table.add_row("last order answered", f"p50 {ms.last_order_p50} ms")
        self.console.print(table)
        self.say(f"done in {seconds:.0f} s")


def _why(entry: PlanEntry) -> str:
    """The reason's code as words: `below minimum`."""
    return entry.reason.value.replace("_", " ")


def _answer(attempt: Attempt) -> str:
    """How it ended; the quantity where it is not the order's own, the broker's words where they add any."""
    whole = attempt.cum_qty == attempt.order_qty
    quantity = "" if whole else f" {plain(attempt.cum_qty)} of {plain(attempt.order_qty)}"
    price = f" at {plain(attempt.avg_px)}" if attempt.avg_px is not None else ""
    words = f" ({attempt.text})" if attempt.text and attempt.text != attempt.state else ""
    return f"{attempt.state}{quantity}{price}{words}"


def _times(sent: Sent, attempt: Attempt) -> str:
    moments = (attempt.intent_at, attempt.sent_at, attempt.acked_at)
    return "/".join(
        f"{(moment.timestamp() - sent.sent_at) * 1000:.0f}" if moment else "–" for moment in moments
    )
