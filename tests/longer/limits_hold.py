"""`python -m tests.longer.limits_hold`: a thousand signals at once at the limits of one account.

The tests of the suite with more signals: position, orders per minute and daily loss, each recounted
from what the exchange executed. Some four minutes; before a release.
"""

from __future__ import annotations

import os
import sys

import click
import pytest


@click.command()
@click.option("--signals", default=1000, help="How many wait at once.")
def main(signals: int) -> None:
    """Try to pass the limits with more signals."""
    os.environ["PORTCULLIS_LIMITS_SIGNALS"] = str(signals)
    sys.exit(pytest.main(["tests/integration/fanout/test_limits_hold.py", "-v"]))


if __name__ == "__main__":
    main()
