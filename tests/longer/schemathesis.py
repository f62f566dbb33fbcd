"""`python -m tests.longer.schemathesis`: the attack of the suite, with more examples and with chains of calls.

Chains (stateful testing) follow the document's links: make one, read it, change it, archive it. Some
minutes; before a release. `--seed` repeats a run.
"""

from __future__ import annotations

import os
import sys

import click
import pytest


@click.command()
@click.option("--examples", default=150, help="Test cases of each operation and phase.")
@click.option("--seed", default=1, help="The same seed, the same run.")
def main(examples: int, seed: int) -> None:
    """Attack the admin API for longer."""
    os.environ |= {
        "PORTCULLIS_ATTACK_EXAMPLES": str(examples),
        "PORTCULLIS_ATTACK_PHASES": "examples,coverage,fuzzing,stateful",
        "PORTCULLIS_ATTACK_SEED": str(seed),
    }
    name = "test_nothing_that_can_be_sent_breaks_the_api_or_its_description"
    sys.exit(pytest.main([f"tests/integration/gateway/test_schemathesis.py::{name}", "-s"]))


if __name__ == "__main__":
    main()
