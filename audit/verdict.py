"""A verifier's verdict: what was found wrong, the gravest of it as a word and an exit status.

Standard library only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

OK, TAMPERED, INCONSISTENT, UNWITNESSED, INCOMPLETE = 0, 2, 3, 4, 5
WORDS = {
    OK: "verified",
    TAMPERED: "tampered",
    INCONSISTENT: "inconsistent",
    UNWITNESSED: "unwitnessed",
    INCOMPLETE: "incomplete",
}
_GRAVEST_FIRST = (TAMPERED, INCONSISTENT, INCOMPLETE, UNWITNESSED)
MOST_FINDINGS = 100


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `index`: the first record that it concerns, where one can be named."""

    code: int
    what: str
    index: int | None = None


@dataclass
class Verdict:
    """What was found. `code` is the exit status, `word` its name.

    `witnessed`: so many records are under a checkpoint that a policy's quorum cosigned; None where
    no policy was given or its quorum was not met.
    """

    origin: str = ""
    size: int = 0
    root: str = ""
    orders: int = 0
    orders_open: int = 0
    witnessed: int | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def code(self) -> int:
        found = {finding.code for finding in self.findings}
        return next((code for code in _GRAVEST_FIRST if code in found), OK)

    @property
    def word(self) -> str:
        return WORDS[self.code]

    @property
    def first_bad_index(self) -> int | None:
        return min((f.index for f in self.findings if f.index is not None), default=None)

    def find(self, code: int, what: str, index: int | None = None) -> None:
        new_code = code not in {finding.code for finding in self.findings}
        if len(self.findings) < MOST_FINDINGS or new_code:
            self.findings.append(Finding(code, what, index))

    def as_json(self) -> dict[str, Any]:
        summary = {"verdict": self.word, "exit": self.code, "first_bad_index": self.first_bad_index}
        return summary | asdict(self)


class Stop(Exception):
    """No later step can say more."""


def describe(verdict: Verdict) -> str:
    """The verdict in words for a reader at a terminal."""
    lines = [f"{verdict.word}: {verdict.origin or 'no readable checkpoint'}"]
    if verdict.root:
        lines.append(f"  {verdict.size} records, root {verdict.root}")
        lines.append(f"  {verdict.orders} orders, {verdict.orders_open} of them still open")
    if verdict.witnessed is not None:
        lines.append(f"  {verdict.witnessed} of them witnessed as the policy asks")
    if verdict.first_bad_index is not None:
        lines.append(f"  first bad index: {verdict.first_bad_index}")
    lines += [f"  {WORDS[finding.code]}: {finding.what}" for finding in verdict.findings]
    return "\n".join(lines)
