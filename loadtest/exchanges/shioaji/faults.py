"""What goes wrong, and when: a list of rules, or a seed that draws them.

| fault | place, cancel, update, update_status |
| --- | --- |
| lose_before | not taken, no answer in time |
| lose_after | taken, no answer in time |
| unknown | taken, and the gateway says that it does not know (409) |
| cut | not taken or taken, the connection breaks |
| maintenance, ban, token | refused, with the SDK's exception for it |
| reject | taken and refused by the exchange, with op_code and op_msg |
| pending | taken, and never acknowledged until release() |
| deal_first | the deal's event before the order's |
| twice | every event twice |
| late | no event until release() |
| degraded | the SDK says that its copy of the trades is not whole |
| hang | no answer until release() |
| down | the connection's end is told to the client |
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

KINDS = (
    "lose_before", "lose_after", "unknown", "cut", "maintenance", "ban", "token", "reject",
    "pending", "deal_first", "twice", "late", "degraded", "hang", "down",
)  # fmt: skip
SEEDED = ("lose_before", "lose_after", "unknown", "reject", "deal_first", "twice", "late")


@dataclass
class Fault:
    """`times` more of this operation go wrong like this."""

    op: str
    kind: str
    times: int = 1
    code: str = ""
    text: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"fault {self.kind!r}: one of {', '.join(KINDS)}")


@dataclass
class Faults:
    """Rules first, in order; then the seed's, at `rate`."""

    rules: list[Fault] = field(default_factory=list)
    seed: int | None = None
    rate: float = 0.0
    happened: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def take(self, op: str) -> Fault | None:
        for rule in self.rules:
            if rule.op == op and rule.times > 0:
                rule.times -= 1
                return self._note(rule)
        if self.seed is not None and op == "place" and self._random.random() < self.rate:
            return self._note(Fault(op, self._random.choice(SEEDED), code="99", text="by seed"))
        return None

    def _note(self, fault: Fault) -> Fault:
        self.happened.append(f"{fault.op} {fault.kind}")
        return fault
