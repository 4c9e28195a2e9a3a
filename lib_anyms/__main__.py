"""`python -m lib_anyms`: one clear sentence on a Python too old to read the rest, else the command line."""

import sys

if sys.version_info < (3, 10):
    sys.stderr.write(
        "AnyMS: this Python is too old (got %d.%d, expected 3.10 or newer). Use another.\n" % sys.version_info[:2]
    )
    sys.exit(2)

from lib_anyms.standalone.cli import main

sys.exit(main())
