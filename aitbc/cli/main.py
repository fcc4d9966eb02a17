"""The command `aitbc`: which commands there are, each in a module of its own.

A module imports at its top only what its options need; what it runs is imported inside the
function, so that `aitbc --help` and shell completion stay quick.
"""

import typer

from aitbc.cli import api_keys, chain, genesis, jobs, keys, receipt
from aitbc.cli.failures import Commands

app = typer.Typer(
    name="aitbc",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="AITBC: AI jobs escrowed, run, proved and settled on a chain. Data goes to stdout, "
    "everything else to stderr; docs/operations.md lists the exit codes.",
)
app.add_typer(jobs.app, name="jobs")
app.add_typer(receipt.app, name="receipt")
app.command("account")(chain.show_account)
app.add_typer(chain.transactions, name="tx")
app.add_typer(chain.explorer, name="explorer")
app.add_typer(keys.app, name="keys")
app.add_typer(api_keys.app, name="api-keys")
app.add_typer(genesis.app, name="genesis")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
