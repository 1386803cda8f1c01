"""`python -m miros_mesh` is the command `miros-mesh`."""

import sys

from miros_mesh.cli.command import main

if __name__ == "__main__":
    sys.exit(main())
