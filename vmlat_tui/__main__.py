"""``python3 -m vmlat_tui`` is the same program as the console script ``vmlat``."""

import sys

from vmlat_tui.cli import main

sys.exit(main())
