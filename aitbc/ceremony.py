"""Decides the commands of a key ceremony: `aitbc ceremony new|contribute|beacon|verify`.

A ceremony is a folder that its contributors hand on; all of it is public. The steps themselves
are in `zk.ceremony.steps`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from zk.ceremony.snarkjs import Snarkjs, SnarkjsError, install_snarkjs
from zk.ceremony.steps import (
    DEFAULT_ITERATIONS,
    Report,
    apply_beacon,
    contribute,
    new_ceremony,
    verify,
)
from zk.ceremony.transcript import CeremonyError, Transcript
from zk.circuit import CIRCUIT_HASH, build_r1cs

app = typer.Typer(
    help="Make a proving key together, so that nobody knows its secret.", no_args_is_help=True
)

DEFAULT_CACHE: Final = Path("~/.cache/aitbc")

# The numbers of the command line, docs/operations.md; `node` may be missing where this runs.
UNEXPECTED: Final = 1
CONFIGURATION: Final = 3
VERIFICATION_FAILED: Final = 33

Folder = Annotated[Path, typer.Argument(help="The ceremony's folder.")]
Cache = Annotated[Path, typer.Option(help="Where snarkjs is installed the first time.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command("new")
def new_command(folder: Folder, cache: Cache = DEFAULT_CACHE) -> None:
    """Start a ceremony for the settlement circuit in an empty folder (2 s)."""
    with _failures_told():
        new_ceremony(folder, build_r1cs(), _snarkjs(cache))
    typer.echo(
        f"started in {folder}; next: aitbc ceremony contribute {folder} --name <who>", err=True
    )


@app.command("contribute")
def contribute_command(
    folder: Folder,
    name: Annotated[str, typer.Option(help="Who contributes; public.")],
    entropy: Annotated[
        str, typer.Option(prompt="Type anything, to be mixed in", hide_input=True)
    ] = "",
    cache: Cache = DEFAULT_CACHE,
    as_json: AsJson = False,
) -> None:
    """Add your randomness to the open phase (5 s), then hand the folder on."""
    with _failures_told():
        transcript = contribute(folder, name, _snarkjs(cache), entropy)
    _report_step(transcript, as_json=as_json)


@app.command("beacon")
def beacon_command(
    folder: Folder,
    value: Annotated[str, typer.Option(help="Public randomness, hex; announced beforehand.")],
    name: Annotated[str, typer.Option(help="Where the value comes from.")] = "beacon",
    iterations: Annotated[
        int, typer.Option(help="Two-logarithm of the hashes of delay.")
    ] = DEFAULT_ITERATIONS,
    cache: Cache = DEFAULT_CACHE,
    as_json: AsJson = False,
) -> None:
    """Close the open phase with public randomness (phase 1: two minutes, phase 2: 5 s)."""
    with _failures_told():
        transcript = apply_beacon(folder, value, _snarkjs(cache), name, iterations)
    _report_step(transcript, as_json=as_json)


@app.command("verify")
def verify_command(folder: Folder, cache: Cache = DEFAULT_CACHE, as_json: AsJson = False) -> None:
    """Check a ceremony, finished or not, from nothing but its folder (half a minute)."""
    with _failures_told(VERIFICATION_FAILED):
        report = verify(folder, CIRCUIT_HASH, _snarkjs(cache))
    print_report(report, as_json=as_json)


def print_report(report: Report, *, as_json: bool = False) -> None:
    """Who contributed, and the key if there is one yet."""
    if as_json:
        first, second = report.contributors
        key_id = None if report.key_id is None else report.key_id.hex()
        typer.echo(
            json.dumps(
                {
                    "valid": True,
                    "is_finished": key_id is not None,
                    "circuit": report.circuit_hash,
                    "contributors": {"phase_1": first, "phase_2": second},
                    "key_id": key_id,
                }
            )
        )
        return
    typer.echo(f"circuit  {report.circuit_hash}")
    typer.echo(f"phase 1  {', '.join(report.contributors[0]) or 'no contribution yet'}")
    typer.echo(f"phase 2  {', '.join(report.contributors[1]) or 'no contribution yet'}")
    if report.key_id is None:
        typer.echo("valid so far; the ceremony is not finished")
    else:
        typer.echo(f"key id   {report.key_id.hex()}")
        typer.echo("valid: sound if one contributor of each phase kept no secret")


def _snarkjs(cache: Path) -> Snarkjs:
    return install_snarkjs(cache.expanduser().resolve())


def _report_step(transcript: Transcript, *, as_json: bool) -> None:
    step = transcript.steps[-1]
    if as_json:
        phase = None if transcript.is_finished else transcript.phase
        made = {"file": step.file, "sha256": step.sha256, "open_phase": phase}
        typer.echo(json.dumps(made))
        return
    state = "finished" if transcript.is_finished else f"phase {transcript.phase} is open"
    typer.echo(f"made {step.file}, sha256 {step.sha256}; {state}")


@contextmanager
def _failures_told(refused: int = CONFIGURATION) -> Iterator[None]:
    """Say what failed; a folder that is not as it should be ends with `refused`."""
    try:
        yield
    except CeremonyError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(refused) from error
    except SnarkjsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(UNEXPECTED) from error
