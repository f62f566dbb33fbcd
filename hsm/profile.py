"""What differs from token to token, as a TOML file per vendor: numbers here, never in the code.

`[hsm] profile = "softhsm"` names one of hsm/profiles/*.toml, or a file of one's own. Each fact
there was either found by `portcullis hsm conformance` (then `run_on` says on what, and when) or is
the vendor's word (then its `differences` name the page, and `run_on` says "not run on hardware").
Such a profile holds no keys: run conformance on your HSM, write what it found into a copy, and name
that file instead.

`expected` is what conformance must find, check by check: a difference in either direction is a
finding, and so is a check of which the profile says nothing.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
from pkcs11 import MGF, Attribute, Mechanism

from tenancy.errors import UNREADABLE, ConfigurationError

DIRECTORY = Path(__file__).parent / "profiles"
NOT_RUN = "not run on hardware"

KWP = Mechanism.AES_KEY_WRAP_PAD
"""AES key wrap with padding as hsm/templates.py writes it: 0x210A. `fit()` puts the token's number."""
Outcome = Literal["holds", "does not hold", "cannot be done"]
Digest = Literal["sha1", "sha256"]

_OAEP: dict[Digest, tuple[Mechanism, MGF, None]] = {
    "sha1": (Mechanism.SHA_1, MGF.SHA1, None),
    "sha256": (Mechanism.SHA256, MGF.SHA256, None),
}


GUARDS = (
    "kwp_wraps_and_unwraps_under_its_number",
    "kwp_is_that_of_sp_800_38f",
    "kwp_carries_every_multiple_of_eight",
    "kwp_refuses_an_altered_blob",
    "oaep_with_sha1_unwraps",
    "hmac_sha512_is_that_of_rfc_4231",
    "hmac_sha256_is_that_of_rfc_4231",
    "a_wrong_mac_is_refused",
    "keys_of_the_sign_side_are_as_drawn",
    "keys_of_the_enrol_side_are_as_drawn",
    "a_kek_travels_into_its_final_template",
    "the_enrolment_key_is_as_drawn",
    "the_unwrap_template_is_enforced",
    "what_an_unwrapping_leaves_out_is_not_widened",
    "an_opened_secret_can_be_read",
    "allowed_mechanisms_are_enforced",
    "an_unmodifiable_key_stays_as_it_is",
    "an_unmodifiable_key_is_not_copied",
    "a_sensitive_value_is_not_read",
    "sensitive_and_unextractable_are_for_good",
    "an_unextractable_key_is_not_wrapped",
    "the_user_makes_no_key_trusted",
    "no_operation_state_is_handed_out",
    "threads_sign_rightly_with_os_locking",
    "a_login_counts_for_every_session",
    "there_are_sessions_for_every_worker",
    "private_objects_are_seen_by_the_login_alone",
    "session_keys_end_with_their_session",
    "what_another_process_makes_is_found",
    "a_wrong_pin_is_named",
)
"""Checks of conformance without which a token holds no keys of ours. For what the others find we have
guards of our own: padding, the canary, exec instead of fork, one try per PIN."""


class Difference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an engineer has to know of this token, and who says so."""

    what: str
    source: str


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One vendor's PKCS#11 library."""

    name: str
    run_on: str
    """The version and the day of the conformance run, or "not run on hardware"."""
    may_hold_keys: bool
    """False where a guard that the design rests on is missing, or where nobody has looked: daemons
    and ceremonies refuse such a profile."""
    modules: list[str]
    """Where the library usually is; shell patterns."""
    initialize_with: str = ""
    """The text for pReserved of C_Initialize; `{store}` is the directory of the token's files."""
    makes_own_store: bool = False
    """Whether conformance can make a token of its own, in a directory of its own."""
    kwp_number: int
    """CKM number of AES key wrap with padding, NIST SP 800-38F and RFC 5649."""
    oaep_digest: Digest
    """What enrolment and the ceremony use. The browser and the CLI encrypt with SHA-1."""
    ed25519: bool
    """False: the log's checkpoints need another token (SPEC: the log format wants Ed25519)."""
    hmac_sha512_min_bytes: int
    """Shorter keys are refused; ours are padded to 64 or 128 (hsm/enrol.py)."""
    absent_attributes: list[str] = []
    """Attributes that the token does not know: our templates leave them out."""
    pin_tries: int | None = None
    """Wrong PINs in a row until the token locks; 0: it never does; None: we do not know. We try one."""
    worker_threads: int
    """One where the token is a library in our process; many where each call waits for a network."""
    sessions_max: int
    """0: no limit that we know of."""
    differences: list[Difference]
    expected: dict[str, Outcome] = {}

    def missing_guards(self) -> list[str]:
        """Those of GUARDS that the profile does not expect to hold."""
        return [name for name in GUARDS if self.expected.get(name) != "holds"]

    @property
    def kwp(self) -> Mechanism:
        return mechanism(self.kwp_number)

    @property
    def oaep(self) -> tuple[Mechanism, MGF, None]:
        """The parameter of RSA_PKCS_OAEP, as the binding takes it."""
        return _OAEP[self.oaep_digest]

    def fit(self, template: dict[Attribute, Any]) -> dict[Attribute, Any]:
        """The template in this token's words: its number for KWP, without what it does not know."""
        if not self.absent_attributes and self.kwp is KWP:
            return template
        absent = {Attribute[name] for name in self.absent_attributes}
        fitted = {name: value for name, value in template.items() if name not in absent}
        for name, value in fitted.items():
            if name is Attribute.ALLOWED_MECHANISMS:
                fitted[name] = [self.kwp if one is KWP else one for one in value]
            elif name is Attribute.UNWRAP_TEMPLATE:
                fitted[name] = self.fit(value)
        return fitted


def mechanism(number: int) -> Mechanism:
    """A number as the binding's Mechanism: vendors' own numbers are not in its enumeration."""
    try:
        return Mechanism(number)
    except ValueError:
        member = int.__new__(Mechanism, number)
        member._name_ = f"VENDOR_{number:#x}"
        member._value_ = number
        return member


def names() -> list[str]:
    """All profiles that come with us."""
    return sorted(path.stem for path in DIRECTORY.glob("*.toml"))


@cache
def read_profile(name: str) -> Profile:
    """One of ours by its name, or a file by its path (ends in .toml). Raises ConfigurationError."""
    if name.endswith(".toml"):
        return _read(Path(name))
    if name not in names():
        raise ConfigurationError(f"no HSM profile {name!r}; there are {', '.join(names())}")
    return _read(DIRECTORY / f"{name}.toml")


def _read(path: Path) -> Profile:
    try:
        profile = msgspec.toml.decode(path.read_bytes(), type=Profile)
    except (OSError, *UNREADABLE) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    unknown = [one for one in profile.absent_attributes if one not in Attribute.__members__]
    if profile.name != path.stem or unknown:
        raise ConfigurationError(f"{path}: its name is not the file's, or no attributes {unknown}")
    if profile.may_hold_keys and profile.run_on == NOT_RUN:
        raise ConfigurationError(f"{path}: it may hold keys once conformance has run: see `run_on`")
    if profile.may_hold_keys and (missing := profile.missing_guards()):
        raise ConfigurationError(f"{path}: it may not hold keys without {', '.join(missing)}")
    return profile


def check_guards(profile: Profile) -> None:
    """Raise ConfigurationError unless keys may lie in such a token."""
    if not profile.may_hold_keys:
        raise ConfigurationError(
            f"profile {profile.name!r} ({profile.run_on}) guards no keys: docs/hsm/profiles.md says"
            " what is missing, or how to prove it with `portcullis hsm conformance`"
        )
