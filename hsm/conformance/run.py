"""Run every check at one token, and lay what was found beside what the profile expects."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from hsm.conformance import guards, signing, starting, wrapping
from hsm.conformance.bench import Bench
from hsm.conformance.check import (
    CHECKS,
    CannotBeDone,
    Check,
    DoesNotHold,
    Finding,
    NotTried,
)
from hsm.conformance.store import named_token, own_token
from hsm.cryptoki.library import Refused
from hsm.errors import PinRefused, TokenLost
from hsm.profile import Outcome, Profile
from tenancy.errors import ConfigurationError

ORDER = (wrapping, signing, guards, starting)
"""The files of checks; what may lock a token comes last."""


def conformance(
    module: Path, profile: Profile, *, token: str | None = None, pin: str | None = None
) -> tuple[dict[str, Any], list[Finding]]:
    """What the library says of itself, and one finding per check.

    Without `token` a token is made for the run where the library is software. Raises
    ConfigurationError; PinRefused or TokenLost where the library does not even start or log in.
    """
    try:
        return _at(_token(module, profile, token, pin), module, profile)
    except Refused as error:
        refusal = PinRefused if error.name.startswith("CKR_PIN") else TokenLost
        raise refusal(f"{module} does not start or log in: {error}") from None


def _token(
    module: Path, profile: Profile, token: str | None, pin: str | None
) -> AbstractContextManager[Bench]:
    if token is None:
        return own_token(module, profile)
    if pin is None:
        raise ConfigurationError("a named token needs its PIN: --pin-file")
    return named_token(module, profile, token, pin)


def _at(
    where: AbstractContextManager[Bench], module: Path, profile: Profile
) -> tuple[dict[str, Any], list[Finding]]:
    with where as bench:
        about = {
            "module": str(module),
            "profile": profile.name,
            **bench.library.describe()._asdict(),
        }
        return about, [run_one(bench, check) for check in all_checks()]


def all_checks() -> list[Check]:
    """Every check, in the order of its files."""
    return [one for module in ORDER for one in CHECKS if one.run.__module__ == module.__name__]


def run_one(bench: Bench, check: Check) -> Finding:
    """One check's outcome. A call that the token refuses unasked makes it "cannot be done"."""
    outcome: Outcome | None
    try:
        remark, outcome = check.run(bench) or "", "holds"
    except DoesNotHold as error:
        remark, outcome = str(error), "does not hold"
    except (CannotBeDone, Refused) as error:
        remark, outcome = str(error), "cannot be done"
    except NotTried as error:
        remark, outcome = str(error), None
    return Finding(check.name, outcome, bench.profile.expected.get(check.name), remark, check.why)
