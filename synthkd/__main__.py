"""`python -m synthkd` is `synthkd`."""

from synthkd.cli import main

main()
