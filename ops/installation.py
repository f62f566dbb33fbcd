"""What a settings file names and is not there yet: tokens, schema, the platform. Made once, then left alone.

On a dedicated host the settings, the database with its roles, and the HSM's client were put in place before
(ansible/); `portcullis install` makes the rest. In this order, each step complete before the next:

1. Both tokens, and the PINs that nobody has written yet.   *Crash within: the token that exists is named, and
   a person decides; a token is never made over another.*
2. The schema, by the migrator: each migration is a transaction of its own. Of one that is there nothing is
   taken away: that is a word of its own, `portcullis migrate`.
3. The platform's tenant, its keys, its logs, its operators' first key (ops/platform.py).

Two hosts that do so at once: the migrator's lock and the platform's uniqueness decide; who comes second
finds it made, or fails and is run again.
"""

from __future__ import annotations

from pathlib import Path

from hsm import ceremony
from ops import migrate, platform
from ops.ceremonies import recorded, token_settings
from ops.settings import Settings


def install(settings: Settings, keys: Path) -> list[str]:
    """What was made, in words; empty where everything is there. The first key goes to `keys`.

    Raises CeremonyRefused where some tokens are there and some are not; Unavailable, MigrationError.
    """
    made = _make_tokens(settings)
    # Nothing is pending, too, where a newer schema serves this release.
    if migrate.check(settings.database.owner):
        applied = migrate.migrate(settings.database.owner, expand_only=True)
        made += [f"schema: {name}" for name in applied]
    if platform.create(settings, keys):
        made.append("platform")
    return made


def _make_tokens(settings: Settings) -> list[str]:
    tokens = token_settings(settings)
    labels = [label for pair in tokens.pairs for label in (pair.enrol_label, pair.sign_label)]
    with ceremony.library(tokens) as module:
        if all(module.has_token(label) for label in labels):
            return []
    ceremony.init_tokens(tokens)
    recorded(settings, "init")
    return [f"token: {label}" for label in labels]
