"""Signatures as `ssh-keygen -Y` makes and checks them (OpenSSH's SSHSIG). Standard library only."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

NAMESPACE = "portcullis-bundle"
"""A signature that the same key gave for something else (a commit, a file) is none of a bundle."""


class BadSignature(Exception):
    """Nobody of the signers signed this, or it was altered since; `str()` says which."""


def sign(key: Path, file: Path) -> None:
    """Write `file`.sig. `key`: a private key, or the public one of a key that the agent holds. Raises
    BadSignature where no signature was made."""
    done = _ran(["-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE, str(file)], stdin=None)
    if done.returncode != 0:
        raise BadSignature(f"ssh-keygen did not sign with {key}: {_said(done)}")


def check_key(key: Path) -> None:
    """Raises BadSignature where ssh-keygen finds no key in the file: better known before the work."""
    done = _ran(["-l", "-f", str(key)], stdin=b"")
    if done.returncode != 0:
        raise BadSignature(f"{key} holds no key that ssh-keygen can read: {_said(done)}")


def signer_of(message: bytes, signature: bytes, signers: Path) -> str:
    """Who of `signers` (allowed_signers, see ssh-keygen(1)) signed the message. Raises BadSignature."""
    with tempfile.NamedTemporaryFile(suffix=".sig") as file:
        file.write(signature)
        file.flush()
        about = ["-f", str(signers), "-s", file.name]
        found = _ran(["-Y", "find-principals", *about], stdin=b"")
        if found.returncode != 0:
            raise BadSignature(f"no key in {signers} made the signature: {_said(found)}")
        name = found.stdout.decode().splitlines()[0].split(",")[0]
        done = _ran(["-Y", "verify", "-I", name, "-n", NAMESPACE, *about], stdin=message)
    if done.returncode != 0:
        raise BadSignature(f"the signature is not {name}'s for this: {_said(done)}")
    return name


def _ran(words: list[str], stdin: bytes | None) -> subprocess.CompletedProcess[bytes]:
    """`stdin` None: the terminal's, where a passphrase may be asked for."""
    command = ["ssh-keygen", *words]
    try:
        return subprocess.run(command, input=stdin, capture_output=True, check=False)
    except FileNotFoundError:
        raise BadSignature("ssh-keygen is not installed: apt install openssh-client") from None


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"status {done.returncode}"
