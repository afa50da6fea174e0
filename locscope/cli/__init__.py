"""The command line: results to stdout, all else to stderr, errors as one line and an exit code."""

from locscope.cli.stopping import stoppable

__all__ = ["main"]


def main() -> None:
    """Runs the command line."""
    with stoppable():
        # Here, so that it can be interrupted too.
        from locscope.cli.app import app

        app()
