"""`mailctl` and `python -m mailctl`."""

import signal


def run() -> None:
    """Run one command and exit with its exit code."""
    # Until the code that handles Ctrl-C is imported, Ctrl-C ends the process without a traceback.
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mailctl.cli.main import run as run_command

    signal.signal(signal.SIGINT, before)
    run_command()


if __name__ == "__main__":
    run()
