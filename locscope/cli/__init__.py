"""The command line: results to stdout, all else to stderr, errors as one line and an exit code."""

from locscope.cli.app import app

__all__ = ["main"]


def main() -> None:
    """Runs the command line."""
    app()
