"""What steady senders noticed of the loud ones: before, meanwhile, afterwards. Pure.

When it was loud is read from the loud senders' own notes: from their first intended start to their last answer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

import msgspec

from loadtest.swarm.run import Asked, Sent
from ops.load.figures import Spread

T = TypeVar("T", Sent, Asked)
WHEN = ("before", "meanwhile", "afterwards")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Some senders' requests of one time. `refused`: by status, 0 for no answer; `not_told_when`: how many of
    these 429 and 503 had no Retry-After. `answer` of what was accepted, `refusal` of what was not;
    `last_order` of signals, from the intended start to the last order's arrival.
    """

    who: str
    when: str
    accepted: int
    refused: dict[str, int]
    not_told_when: int
    answer: Spread | None
    refusal: Spread | None
    last_order: Spread | None


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One second of the run, counted from when it became loud. `slowest_ms`: of the steady senders' accepted
    signals; None where there were none. `accepted`, `refused`: of all senders."""

    second: int
    slowest_ms: float | None
    accepted: int
    refused: int


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """`began_s`, `ended_s`: when it was loud (Unix s). `others_p99`: of steady signals that are not the loud
    tenant's, meanwhile by before; None where one of the two was not seen. `recovered_s`: how long after the
    end the last steady signal was meant to leave that was refused or slower than the objective; 0: none
    was; None: still the last one of the run.
    """

    began_s: float
    ended_s: float
    parts: list[Part]
    moments: list[Moment]
    others_p99: float | None
    recovered_s: float | None


def scene(
    steady: Sequence[Sent],
    loud: Sequence[Sent],
    asked: Sequence[Asked],
    *,
    tenants: Mapping[str, int],
    loud_tenants: Collection[int],
    arrivals: Mapping[str, Sequence[float]],
    p99_limit_ms: float,
) -> Scene:
    """`tenants`: hook's id → place of its tenant. Raises ValueError where nothing loud was sent."""
    if not loud:
        raise ValueError("nothing loud was sent")
    began = min(one.intended_at for one in loud)
    ended = max(one.intended_at + one.took_s for one in loud)
    own = [one for one in steady if tenants[one.hook_id] in loud_tenants]
    others = [one for one in steady if tenants[one.hook_id] not in loud_tenants]
    groups = {"loud senders": loud, "loud tenants, steady": own, "others": others}
    parts = [
        _signals(who, when, sent, arrivals)
        for who, all_of_them in groups.items()
        for when, sent in _by_time(all_of_them, began, ended).items()
        if sent
    ]
    programs = {
        "loud tenants' programs": [one for one in asked if one.tenant in loud_tenants],
        "others' programs": [one for one in asked if one.tenant not in loud_tenants],
    }
    parts += [
        _requests(who, when, some)
        for who, all_of_them in programs.items()
        for when, some in _by_time(all_of_them, began, ended).items()
        if some
    ]
    return Scene(
        began_s=began, ended_s=ended, parts=parts, moments=_moments(steady, loud, began),
        others_p99=_ratio(parts), recovered_s=_recovered(steady, ended, p99_limit_ms),
    )  # fmt: skip


def _by_time(requests: Sequence[T], began: float, ended: float) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {when: [] for when in WHEN}
    for one in requests:
        place = 0 if one.intended_at < began else 1 if one.intended_at <= ended else 2
        found[WHEN[place]].append(one)
    return found


def _signals(
    who: str, when: str, sent: Sequence[Sent], arrivals: Mapping[str, Sequence[float]]
) -> Part:
    refused = [one for one in sent if one.signal_id is None]
    last = [
        max(arrived) - one.intended_at
        for one in sent
        if (arrived := arrivals.get(one.signal_id or ""))
    ]
    return Part(
        who=who,
        when=when,
        accepted=len(sent) - len(refused),
        refused=_statuses([one.status for one in refused]),
        not_told_when=sum(one.status in (429, 503) and not one.told_when for one in refused),
        answer=Spread.of(one.took_s for one in sent if one.signal_id is not None),
        refusal=Spread.of(one.took_s for one in refused),
        last_order=Spread.of(last),
    )


def _requests(who: str, when: str, asked: Sequence[Asked]) -> Part:
    refused = [one for one in asked if one.status != 200]
    return Part(
        who=who,
        when=when,
        accepted=len(asked) - len(refused),
        refused=_statuses([one.status for one in refused]),
        not_told_when=0,
        answer=Spread.of(one.took_s for one in asked if one.status == 200),
        refusal=Spread.of(one.took_s for one in refused),
        last_order=None,
    )


def _moments(steady: Sequence[Sent], loud: Sequence[Sent], began: float) -> list[Moment]:
    by_second: dict[int, list[Sent]] = {}
    for one in (*steady, *loud):
        by_second.setdefault(math.floor(one.intended_at - began), []).append(one)
    ours = {one.message_id for one in steady}
    return [
        Moment(
            second=second,
            slowest_ms=max(
                (one.took_s * 1000 for one in sent if one.signal_id and one.message_id in ours),
                default=None,
            ),
            accepted=sum(one.signal_id is not None for one in sent),
            refused=sum(one.signal_id is None for one in sent),
        )
        for second, sent in sorted(by_second.items())
    ]


def _statuses(statuses: Sequence[int]) -> dict[str, int]:
    return {str(status): count for status, count in sorted(Counter(statuses).items())}


def _ratio(parts: Sequence[Part]) -> float | None:
    answers = {part.when: part.answer for part in parts if part.who == "others"}
    before, meanwhile = answers.get("before"), answers.get("meanwhile")
    return meanwhile.p99_ms / before.p99_ms if before and meanwhile else None


def _recovered(steady: Sequence[Sent], ended: float, limit_ms: float) -> float | None:
    later = [one for one in steady if one.intended_at > ended]
    bad = [
        place
        for place, one in enumerate(later)
        if one.signal_id is None or one.took_s * 1000 > limit_ms
    ]
    if not later or (bad and bad[-1] == len(later) - 1):
        return None
    return later[bad[-1]].intended_at - ended if bad else 0.0
