"""`python -m mailctl`."""

from mailctl.cli.main import run

run()
