"""What the hosts are installed from: a bundle of this checkout as it is, signed by a key of the lab's own.

Made once for what is in the checkout, and kept; the Debian packages are kept for the next one, too.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from ops.bundle.checkout import copy, files
from ops.bundle.contents import sum_of
from ops.bundle.signature import NAMESPACE
from ops.processes import ROOT

SIGNER = "lab@example.org"


class Bundle(NamedTuple):
    """The archive, and who may sign one."""

    archive: Path
    signers: Path


def bundle(cache: Path) -> Bundle:
    """Made first where the cache has none of this content; an older one goes then."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "bundle.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = _key(cache)
        place = cache / f"bundle-{_content()}"
        if not place.exists():
            for old in cache.glob("bundle-*"):
                shutil.rmtree(old)
            building = place.with_name("building-bundle")
            shutil.rmtree(building, ignore_errors=True)
            _build(ROOT, building, key, cache / "packages")
            building.rename(place)
    return _made(place, key)


def next_release(cache: Path, place: Path) -> Bundle:
    """Another one of this checkout and of one change more: a migration that only adds. Not kept."""
    source = place / "source"
    copy(ROOT, source)
    last = sorted((source / "ops/migrations").glob("[0-9]*.sql"))[-1].name
    number = int(last.partition("_")[0]) + 1
    added = source / f"ops/migrations/{number:04}_lab.sql"
    added.write_text("ALTER TABLE channels ADD COLUMN lab_note text NOT NULL DEFAULT '';\n")
    git = ["git", "-C", str(source), "-c", "user.name=lab", "-c", f"user.email={SIGNER}"]
    for words in (["init", "-q"], ["add", "--all"], ["commit", "-q", "-m", "the next release"]):
        subprocess.run([*git, *words], check=True)
    key = _key(cache)
    _build(source, place, key, cache / "packages")
    return _made(place, key)


def _made(place: Path, key: Path) -> Bundle:
    (archive,) = place.glob("*.tar")
    return Bundle(archive, key.with_suffix(".signers"))


def _content() -> str:
    total = hashlib.sha256()
    for name in files(ROOT):
        path = ROOT / name
        total.update(f"{name} {path.readlink() if path.is_symlink() else sum_of(path)}\n".encode())
    return total.hexdigest()[:12]


def _key(cache: Path) -> Path:
    key = cache / "release"
    if not key.exists():
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", SIGNER, "-f", str(key)]
        subprocess.run(words, check=True)
        public = key.with_suffix(".pub").read_text()
        key.with_suffix(".signers").write_text(f'{SIGNER} namespaces="{NAMESPACE}" {public}')
    return key


def _build(source: Path, place: Path, key: Path, packages: Path) -> None:
    words = [
        sys.executable, "-m", "ops.cli.main", "bundle", "--dirty", "--source", str(source),
        "--out", str(place / "bundle"), "--key", str(key), "--keep", str(packages),
    ]  # fmt: skip
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the lab's bundle could not be made:\n{done.stderr[-3000:]}")
    shutil.rmtree(place / "bundle")  # the archive is all that travels
