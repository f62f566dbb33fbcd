"""The one error of the formats: bytes that are not what they claim to be.

Standard library only, so that the verifier runs where nothing of ours is installed.
"""

from __future__ import annotations


class Malformed(ValueError):
    """The input breaks its format: says which rule, and where."""

    code = "malformed"
