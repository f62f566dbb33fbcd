"""`python -m ops.chaos`: see run.py."""

import sys

from ops.chaos.run import main

if __name__ == "__main__":
    sys.exit(main())
