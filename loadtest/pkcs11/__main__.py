"""`python -m loadtest.pkcs11 build --out DIR --module PATH`, and `set LIBRARY name=value …`.

    python -m loadtest.pkcs11 build --out /tmp/relay --module /usr/lib/softhsm/libsofthsm2.so
    python -m loadtest.pkcs11 set /tmp/relay/relay.so latency_us=1500
    python -m loadtest.pkcs11 show /tmp/relay/relay.so

`module` in the signer's settings is then /tmp/relay/relay.so.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from loadtest.pkcs11.build import CannotBuild, build
from loadtest.pkcs11.control import Control


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtest.pkcs11", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("build", help="compile relay.so and write its control file")
    making.add_argument("--out", type=Path, required=True)
    making.add_argument("--module", type=Path, required=True, help="the module behind")
    setting = commands.add_parser("set", help="change what happens to the next calls")
    setting.add_argument("library", type=Path)
    setting.add_argument("words", nargs="+", metavar="name=value", help=", ".join(Control.WORDS))
    showing = commands.add_parser("show", help="what is set, and what was counted")
    showing.add_argument("library", type=Path)
    given = parser.parse_args()
    try:
        if given.command == "build":
            print(build(given.out, given.module))
        elif given.command == "set":
            pairs = (word.partition("=") for word in given.words)
            Control(given.library).set(**{name: int(value, 0) for name, _, value in pairs})
        else:
            control = Control(given.library)
            for name in (*Control.WORDS, "calls", "signatures", "faults"):
                print(f"{name} = {control.get(name)}")
    except (CannotBuild, OSError, ValueError) as error:
        print(f"loadtest.pkcs11: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
