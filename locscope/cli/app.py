"""The commands, in the order in which help shows them."""

from locscope.cli import finding, using
from locscope.cli.root import app

__all__ = ["app", "finding", "main", "using"]


def main() -> None:
    """Runs the command line."""
    app()
