"""`aitbc demo`: one job from escrow to settlement on a chain of its own, every claim checked."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_PROMPT = "What is a blockchain? Answer in two sentences."


def run(
    prompt: Annotated[
        str, typer.Option("--prompt", help="What to ask the model.")
    ] = DEFAULT_PROMPT,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, max=1_024)] = 96,
    data: Annotated[
        Path, typer.Option("--data", help="Folder of the demonstration; made anew each time.")
    ] = Path(".demo"),
) -> None:
    """Show one job from escrow to settlement: a chain, a miner and a model on this machine.

    Ends by itself: exit code 0 when everything shown holds, 33 when something does not.
    """
    from aitbc.cli.demo.story import Plan, tell

    tell(Plan(prompt=prompt, max_tokens=max_tokens, folder=data.absolute()))
