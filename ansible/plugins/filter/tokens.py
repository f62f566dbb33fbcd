"""Filters of the role hsm_client: which files of SoftHSM's tokens a host lacks, and what must not be written over.

A listing is what `sha256sum` says of every `./<token>/<object>.object`. A token is a directory whose name ends in
its serial number; `token.object` is the token itself (its label and PINs; flags in it change), every other object
is a key, which never changes. A host may lack keys: those of a ceremony that was held on the first host. It must
have no other token and no other key: they may be the only ones of their kind, so a person decides.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

ITSELF = "token.object"


def token_problems(first: str, own: str, source: str) -> list[str]:
    """Sentences on what is here and not as on the first host, `source`."""
    there, here = _read(first), _read(own)
    found = []
    for token in sorted(here):
        if token not in there:
            found.append(
                f"token {_serial(token)} is not one of {source}'s ({', '.join(map(_serial, sorted(there)))}): it"
                " was made here. Nothing was copied. If nothing is sealed under it, move the directory"
                f" {token} away and run again; else back it up first (docs/operating/hsm-backup.md)"
            )
            continue
        keys = sorted(set(here[token]) - set(there[token]))
        if keys:
            found.append(
                f"token {_serial(token)} has keys that {source} has not: {', '.join(keys)}. Either they were made"
                f" here (ceremonies are held on {source} alone), or ended there: then remove these files here"
            )
        found += [
            f"token {_serial(token)}: {name} differs from {source}'s. A key never changes: restore the token from"
            " its backup on whichever host `portcullis hsm check` finds wrong"
            for name in sorted(set(here[token]) & set(there[token]) - {ITSELF})
            if here[token][name] != there[token][name]
        ]
    return found


def token_files(first: str, own: str) -> list[str]:
    """What has to be copied: objects with their locks, and each token's `generation`, which tells of them."""
    there, here = _read(first), _read(own)
    found = []
    for token, objects in sorted(there.items()):
        missing = sorted(set(objects) - set(here.get(token, {})))
        for name in missing:
            found += [f"./{token}/{name}", f"./{token}/{name.removesuffix('.object')}.lock"]
        if missing:
            found.append(f"./{token}/generation")
    return found


def token_owners(
    listing: str, tokens: Iterable[Mapping[str, Any]], owners: Mapping[str, str]
) -> dict[str, str]:
    """Whose each directory shall be. `tokens`: label and serial of each, as the product says them."""
    label = {token["serial"]: token["label"] for token in tokens}
    return {
        directory: owners[label[_serial(directory)]]
        for directory in sorted(_read(listing))
        if label.get(_serial(directory)) in owners
    }


def token_strangers(
    lines: Iterable[str], tokens: Iterable[Mapping[str, Any]], owners: Mapping[str, str]
) -> list[str]:
    """Sentences on tokens with files of somebody else; `lines`: `<directory>/ <user>`."""
    label = {token["serial"]: token["label"] for token in tokens}
    found = []
    for line in lines:
        path, _, user = line.rpartition(" ")
        name = label.get(_serial(path.rstrip("/").rpartition("/")[2]))
        if name is not None and owners.get(name) not in (None, user):
            found.append(f"token: {name} has files of {user}, should be {owners[name]}'s")
    return found


def other_pins(wanted: Iterable[Mapping[str, Any]], own: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of files here that hold another PIN; `wanted` as `slurp` reads them, `own` as `stat` sees them."""
    return [
        there["item"]
        for there, here in zip(wanted, own, strict=True)
        if here["stat"]["exists"]
        and here["stat"]["checksum"] != sha256(b64decode(there["content"])).hexdigest()
    ]


def _read(listing: str) -> dict[str, dict[str, str]]:
    """Digests by token and object."""
    found: dict[str, dict[str, str]] = {}
    for line in listing.splitlines():
        digest, _, path = line.partition("  ")
        token, _, name = path.removeprefix("./").partition("/")
        found.setdefault(token, {})[name] = digest
    return found


def _serial(directory: str) -> str:
    """SoftHSM's serial number of a token is the end of its directory's name."""
    return "".join(directory.split("-")[-2:])


class FilterModule:
    """Where Ansible looks."""

    def filters(self) -> dict[str, Any]:
        return {
            "token_problems": token_problems,
            "token_files": token_files,
            "token_owners": token_owners,
            "token_strangers": token_strangers,
            "other_pins": other_pins,
        }
