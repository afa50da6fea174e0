"""The command line: results to stdout, all else to stderr, errors as one line and an exit code."""

from locscope.cli.app import main

__all__ = ["main"]
