"""What a bundle's files are called. Standard library only."""

from __future__ import annotations

MANIFEST = "manifest.json"
LOCK = "requirements.lock"
WHEELS = "wheels"
DEBIAN = "debian"
COLLECTIONS = "collections"
SOURCE = "source.tar"
SBOM = "sbom.cdx.json"
VULNERABILITIES = "vulnerabilities.json"
SUMS = "SHA256SUMS"
SIGNATURE = f"{SUMS}.sig"

COLLECTIONS_LOCK = f"{COLLECTIONS}/{LOCK}"
INDEX = f"{DEBIAN}/Packages"
RELEASE = f"{DEBIAN}/Release"

UNSUMMED = (SUMS, SIGNATURE)
"""What SHA256SUMS cannot name."""

FILE_PROPERTY = "portcullis:file"
"""The property of an SBOM's component that says which file it is."""


def stem(version: str) -> str:
    """The archive's name without .tar, and the one directory in it."""
    return f"portcullis-bundle-{version}"
