"""`aitbc receipt`: a job's signed receipt, got, exported and verified, or opened to an auditor."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from aitbc.cli.api import DEFAULT_URL, ApiKeyFile, ApiUrl, open_client
from aitbc.cli.failures import CommandError, Commands
from aitbc.cli.output import AsJson, note, print_json, print_record
from aitbc.cli.passwords import PasswordFile, get_password
from aitbc.cli.receipt_recheck import recheck_result
from aitbc.cli.trust import CheckpointFile, GenesisFile, load_trusted
from node.exit_codes import ExitCode

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="Signed receipts: get, export, verify (offline), recheck the result, open to an auditor, "
    "audit (offline).",
)
app.command("recheck")(recheck_result)

ReceiptId = Annotated[str, typer.Argument(metavar="RECEIPT", help="receipt_… or its job's job_…")]


@app.command("get")
def get_receipt(
    receipt_id: ReceiptId,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a receipt: what the miner signed, and what the chain adds."""
    with open_client(api_url, api_key_file) as client:
        receipt = client.receipts.get(receipt_id).to_dict()
    if as_json:
        print_json(receipt)
        return
    hidden = ("signature", "attestations", "zk", "inclusion_proof", "signed_payload")
    print_record(
        {name: value for name, value in receipt.items() if name not in hidden}, as_json=False
    )


@app.command("export")
def export_receipt(
    receipt_id: ReceiptId,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; mode 0600.")],
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Write the one file that proves a receipt to anybody, with no network.

    Whoever holds the file sees the receipt's units, times and hashes.
    """
    from ledger.keystore import write_private_file

    with open_client(api_url, api_key_file) as client:
        bundle = client.receipts.get_bundle(receipt_id)
    write_private_file(output, json.dumps(bundle, indent=1).encode() + b"\n", is_new=False)
    note(f"wrote {output}; next: aitbc receipt verify {output} --genesis GENESIS")


@app.command("verify")
def verify_receipt(
    bundle: Annotated[Path, typer.Argument(help="A file of `aitbc receipt export`.")],
    genesis: GenesisFile = None,
    checkpoint: CheckpointFile = None,
    as_json: AsJson = False,
) -> None:
    """Verify an exported receipt against the chain's genesis or a checkpoint; uses no network.

    Exit code 33 when any link does not hold: the miner's signature, the opening of the commitment,
    the zero-knowledge proof, the places in block and state, the authorities' signatures, and how
    each authority set followed from the one before.
    """
    from aitbc.cli.receipt_report import describe_verified
    from consensus.receipt_bundle import MAX_BUNDLE_BYTES
    from ledger.rejection import Rejected

    trusted = load_trusted(genesis, checkpoint)
    try:
        data = _read(bundle, MAX_BUNDLE_BYTES)
        record = describe_verified(data, trusted)
    except Rejected as error:
        raise _explain("receipt", error, as_json, "pay nothing on this one") from None
    print_record(record, as_json=as_json)
    note("valid: miner's signature, opening, proof, block, state and authorities all hold")


@app.command("open")
def open_receipt(
    receipt_id: ReceiptId,
    auditor: Annotated[
        str,
        typer.Option("--to", help="The auditor's encryption key in hex: aitbc keys show NAME"),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; mode 0600.")],
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Show a settled receipt to an auditor: one file that only the auditor's key opens.

    In it: all that the chain's commitments hide, and the export that proves it. For the job's
    client and its miner.
    """
    from aitbc.sealed_opening import parse_auditor, seal
    from ledger.keystore import write_private_file

    try:
        key = parse_auditor(auditor)
    except ValueError as error:
        raise CommandError(
            f"--to: {error}", ExitCode.USAGE, "aitbc keys show NAME, by the auditor"
        ) from None
    with open_client(api_url, api_key_file) as client:
        opening = client.receipts.get_opening(receipt_id)
        bundle = client.receipts.get_bundle(receipt_id)
    write_private_file(output, seal(opening, bundle, key), is_new=False)
    note(f"wrote {output}; the auditor's next: aitbc receipt audit {output} --genesis GENESIS")


@app.command("audit")
def audit_receipt(
    sealed: Annotated[Path, typer.Argument(help="A file of `aitbc receipt open`.")],
    key_file: Annotated[
        Path, typer.Option("--key-file", help="The auditor's account key: a keystore file.")
    ],
    genesis: GenesisFile = None,
    checkpoint: CheckpointFile = None,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Open a file sealed to this key and check it against the chain; uses no network.

    Shows price, units, times and hashes. Exit code 33 when any link does not hold: all that
    `receipt verify` checks, the openings of all three commitments, and every rule of the proof.
    """
    from aitbc.cli.receipt_report import describe_audited
    from aitbc.sealed_opening import MAX_SEALED_BYTES, OtherAuditorError, unseal
    from aitbc.wallet import Wallet
    from ledger.keystore import open_seed, read_private_file
    from ledger.rejection import Rejected

    trusted = load_trusted(genesis, checkpoint)
    seed = open_seed(read_private_file(key_file), get_password(password_file))
    try:
        data = _read(sealed, MAX_SEALED_BYTES)
        opening, bundle = unseal(data, Wallet(seed).derive_encryption_key())
        record = describe_audited(opening, bundle, trusted)
    except OtherAuditorError as error:
        raise CommandError(
            str(error), ExitCode.CONFIGURATION, "the same command with that key's --key-file"
        ) from None
    except Rejected as error:
        raise _explain("opening", error, as_json, "rely on nothing in this one") from None
    print_record(record, as_json=as_json)
    note("valid: all three commitments open to this, and the proof, block and state hold")


def _explain(what: str, error: Any, as_json: bool, advice: str) -> CommandError:
    """Return the failure that a refused file is, having printed it where data is asked for."""
    if as_json:
        print_json({"valid": False, "error_code": error.reason.name, "detail": error.detail})
    return CommandError(
        f"the {what} is NOT valid: {error}",
        ExitCode.VERIFICATION_FAILED,
        f"ask the sender for another file; {advice}",
    )


def _read(path: Path, limit: int) -> bytes:
    """Return a file's bytes; of one over the limit so many that its decoder refuses it."""
    with path.open("rb") as file:
        return file.read(limit + 1)
