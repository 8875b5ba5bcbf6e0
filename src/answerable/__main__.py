"""`python -m answerable` is the command `answerable`."""

import sys

from answerable.cli.main import main

sys.exit(main())
