"""The command `aitbc`: which commands there are, each in a module of its own.

A module imports at its top only what its options need; what it runs is imported inside the
function, so that `aitbc --help` and shell completion stay quick.
"""

from importlib import import_module
from typing import Any, Final

import typer
from typer.main import get_group

from aitbc.cli import (
    api_keys,
    audit,
    chain,
    files,
    genesis,
    jobs,
    keys,
    node,
    offers,
    profiles,
    receipt,
    registry,
    services,
    validators,
    watch,
    webhooks,
)
from aitbc.cli.demo import command as demo
from aitbc.cli.devnet import command as devnet
from aitbc.cli.failures import Commands

# Other packages' commands: named here for the help, imported when one of them is run.
ELSEWHERE: Final = {
    "miner": ("miner.cli", "A worker: run jobs for money with this machine's models."),
    "ceremony": ("aitbc.ceremony", "Make a proving key together, so that nobody knows its secret."),
}


class Root(Commands):
    """The top of the command line; commands of `ELSEWHERE` are loaded when they are called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in ELSEWHERE:
            module = import_module(ELSEWHERE[args[0]][0])
            self.commands[args[0]] = get_group(module.app)
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="aitbc",
    cls=Root,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="AITBC: AI jobs escrowed, run, proved and settled on a chain. Data goes to stdout, "
    "everything else to stderr; docs/operations.md lists the exit codes.",
)
app.command("demo")(demo.run)
app.command("devnet")(devnet.run)
app.add_typer(jobs.app, name="jobs")
app.add_typer(receipt.app, name="receipt")
app.add_typer(services.app, name="services")
app.add_typer(registry.app, name="registry")
app.add_typer(offers.app, name="offers")
app.add_typer(files.app, name="files")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(profiles.app, name="profile")
app.command("account")(chain.show_account)
app.add_typer(chain.transactions, name="tx")
app.add_typer(chain.explorer, name="explorer")
app.add_typer(watch.blocks, name="blocks")
app.add_typer(keys.app, name="keys")
app.add_typer(api_keys.app, name="api-keys")
app.add_typer(audit.app, name="audit")
app.add_typer(node.app, name="node")
app.add_typer(validators.app, name="validators")
app.add_typer(genesis.app, name="genesis")
for _name, (_, _help) in ELSEWHERE.items():
    app.add_typer(typer.Typer(help=_help), name=_name)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
