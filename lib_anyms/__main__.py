"""`python -m lib_anyms`: run the command line, or refuse a Python that is too old to read it."""

import sys

if sys.version_info < (3, 10):
    sys.stderr.write(
        "AnyMS: this Python is too old (got %d.%d, expected 3.10 or newer). Use another.\n" % sys.version_info[:2]
    )
    sys.exit(2)

from lib_anyms.standalone.cli import main

sys.exit(main())
