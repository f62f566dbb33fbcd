"""Command lines whose exit status is a verdict: what was asked wrongly must not look like one.

argparse ends with 2 where it cannot read its arguments, and 2 is *tampered* here. Standard library only.
"""

from __future__ import annotations

import argparse
from typing import NoReturn

ASKED_WRONGLY = 1
"""The exit status where nothing was verified."""


class VerdictParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(ASKED_WRONGLY, f"{self.format_usage()}{self.prog}: {message}\n")
