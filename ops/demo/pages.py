"""What a demo run shows: tables for people, nothing in --json mode."""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.table import Table

from fanout.reasons import SENTENCES
from ops.demo.numbers import Result
from ops.trial.cast import Cast
from ops.trial.outcome import Attempt, Story
from ops.trial.sender import Sent
from tenancy.values import plain

WIDTH = 180
"""Where nobody says how wide the page is."""


class Pages:
    """Prints to `console`, or to nowhere."""

    def __init__(self, *, quiet: bool) -> None:
        self.console = Console(
            quiet=quiet, highlight=False, width=None if sys.stdout.isatty() else WIDTH
        )

    def step(self, text: str) -> None:
        self.console.print(f"\n[bold]▸ {text}[/bold]")

    def say(self, text: str) -> None:
        self.console.print(f"  {text}")

    def decisions(self, cast: Cast, sent: Sent, story: Story) -> None:
        """Per account: what was decided, why, what the broker said, how long each step took."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("#", "account", "sizing", "arithmetic", "order", "broker's answer", "ms"):
            table.add_column(name, justify="right" if name in ("#", "ms") else "left")
        by_account: dict[object, list[Attempt]] = {}
        for attempt in story.attempts:
            by_account.setdefault(attempt.account_id, []).append(attempt)
        for entry in story.plan.entries:
            member = cast.member(entry.account_id)
            attempts = by_account.get(entry.account_id, [])
            order = ", ".join(f"{leg.side} {plain(leg.order_qty)}" for leg in entry.legs)
            said = "; ".join(map(_answer, attempts)) or SENTENCES[entry.reason]
            table.add_row(
                str(entry.place + 1), member.name, member.sizing, entry.words, order or "—", said,
                "; ".join(_times(sent, a) for a in attempts),
            )  # fmt: skip
        self.console.print(table)
        self.say(
            "ms: from the webhook to our intent / to the first byte to the broker / to its answer."
        )

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


def _answer(attempt: Attempt) -> str:
    price = f" at {plain(attempt.avg_px)}" if attempt.avg_px is not None else ""
    words = f" ({attempt.text})" if attempt.text else ""
    return f"{attempt.state} {plain(attempt.cum_qty)}{price}{words}"


def _times(sent: Sent, attempt: Attempt) -> str:
    moments = (attempt.intent_at, attempt.sent_at, attempt.acked_at)
    return " / ".join(
        f"{(moment.timestamp() - sent.sent_at) * 1000:.0f}" if moment else "–" for moment in moments
    )
