"""`python -m locscope` is the command line."""

from locscope.cli import main

main()
