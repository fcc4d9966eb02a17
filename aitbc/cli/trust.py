"""What an offline verification trusts: the chain's genesis document, or a checkpoint of it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from aitbc.cli.failures import CommandError
from node.exit_codes import ExitCode

GenesisFile = Annotated[
    Path | None,
    typer.Option("--genesis", envvar="AITBC_GENESIS", help="The chain's genesis.json."),
]
CheckpointFile = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        envvar="AITBC_CHECKPOINT",
        help="A file of `aitbc explorer checkpoint` that you trust, instead of genesis.",
    ),
]


def load_trusted(genesis: Path | None, checkpoint: Path | None) -> Any:
    """Return the `Checkpoint` where the verification begins; a given one goes before genesis.

    Where both are given they must be of one chain. Raises `CommandError`.
    """
    from aitbc.cli.genesis_file import load_checked
    from genesis.checkpoint import start_from_genesis

    start = None if genesis is None else start_from_genesis(load_checked(genesis))
    if checkpoint is None:
        if start is None:
            raise CommandError(
                "nothing is named to trust",
                ExitCode.USAGE,
                "give --genesis FILE, or --checkpoint FILE",
            )
        return start
    found = _read_checkpoint(checkpoint)
    if start is not None and start.chain_id != found.chain_id:
        raise CommandError(
            f"the checkpoint is of the chain {found.chain_id.hex()}, the genesis document of "
            f"{start.chain_id.hex()}",
            ExitCode.WRONG_CHAIN,
            f"check {checkpoint} and {genesis}",
        )
    return found


def _read_checkpoint(path: Path) -> Any:
    from genesis.checkpoint import MAX_CHECKPOINT_BYTES, InvalidCheckpoint, load_checkpoint

    try:
        with path.open("rb") as file:
            return load_checkpoint(file.read(MAX_CHECKPOINT_BYTES + 1))
    except FileNotFoundError:
        raise CommandError(
            f"there is no {path}", ExitCode.CONFIGURATION, "aitbc explorer checkpoint --help"
        ) from None
    except InvalidCheckpoint as error:
        raise CommandError(
            f"{path}: {error}", ExitCode.CONFIGURATION, "aitbc explorer checkpoint --help"
        ) from None
