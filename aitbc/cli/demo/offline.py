"""Run `aitbc` in a process that cannot use the network: any attempt to open a socket ends it.

`python -m aitbc.cli.demo.offline receipt verify FILE --genesis FILE`. The hook cannot be taken out
again, so an answer that comes was found without any network.
"""

import sys

_REFUSED = ("socket.", "urllib.", "http.", "ftplib.", "smtplib.")


def refuse_network(event: str, arguments: tuple[object, ...]) -> None:
    """Raise at whatever would reach the network."""
    if event.startswith(_REFUSED):
        raise RuntimeError(f"this process has no network, and {event} was called")


def main() -> None:
    sys.addaudithook(refuse_network)
    from aitbc.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
