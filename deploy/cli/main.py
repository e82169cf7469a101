"""Entry point of the `hogwild` command."""

import signal


def main() -> None:
    """Import the command line and run it.

    Ctrl-C ends the import at once and silently. SIGTERM does what Ctrl-C does, so that text and
    traces are kept.
    """
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from hogwild_dist.deploy.cli.app import main as run  # noqa: PLC0415  # the reason for this module

    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run()
