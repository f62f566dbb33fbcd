"""Where SoftHSM keeps the developer's tokens: a directory and a configuration file, empty of keys.

The tokens themselves are made by the ceremony (hsm/ceremony.py), which also makes the PINs.
"""

from __future__ import annotations

from pathlib import Path

from tenancy.errors import ConfigurationError

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so")


def module() -> Path:
    """Raises ConfigurationError where SoftHSM is not installed."""
    for pattern in MODULES:
        found = sorted(Path("/").glob(pattern.lstrip("/")))
        if found:
            return found[0]
    raise ConfigurationError("SoftHSM is not installed: apt-get install softhsm2")


def create_store(directory: Path) -> Path:
    """Make the token directory and its configuration; returns the configuration's path."""
    tokens = directory / "tokens"
    tokens.mkdir(parents=True, exist_ok=True, mode=0o700)
    conf = directory / "softhsm2.conf"
    conf.write_text(
        f"directories.tokendir = {tokens}\n"
        "objectstore.backend = file\n"
        "log.level = ERROR\n"
        "slots.removable = false\n"
    )
    conf.chmod(0o600)
    return conf
