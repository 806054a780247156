"""``python -m clippan_cli``."""

from clippan_cli.cli.app import main

main()
