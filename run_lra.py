#!/usr/bin/env python
"""The Long Range Arena: run_lra.py --task pathfinder --attn elfatt."""

import sys

from lra.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
