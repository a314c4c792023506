"""``python -m hwtrain`` is the ``hwtrain`` command."""

from __future__ import annotations

import sys

from hwtrain.cli import main

if __name__ == "__main__":
    sys.exit(main())
