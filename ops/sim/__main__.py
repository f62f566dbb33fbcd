"""`python -m ops.sim`: see run.py."""

import sys

from ops.sim.run import main

if __name__ == "__main__":
    sys.exit(main())
