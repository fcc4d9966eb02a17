"""`aitbc receipt`: get a job's signed receipt, export it whole, and verify it with no network."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from aitbc.cli.api import DEFAULT_URL, ApiKeyFile, ApiUrl, open_client
from aitbc.cli.failures import CommandError, Commands
from aitbc.cli.output import AsJson, note, print_json, print_record
from node.exit_codes import ExitCode

app = typer.Typer(
    cls=Commands, no_args_is_help=True, help="Signed receipts: get, export, verify (offline)."
)

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
    genesis: Annotated[
        Path,
        typer.Option("--genesis", envvar="AITBC_GENESIS", help="The chain's genesis.json."),
    ],
    as_json: AsJson = False,
) -> None:
    """Verify an exported receipt against the chain's genesis; uses no network.

    Exit code 33 when any link does not hold: the miner's signature, the opening of the commitment,
    the zero-knowledge proof, the places in block and state, the authorities' signatures.
    """
    from aitbc.cli.genesis_file import load_checked
    from ledger.rejection import Rejected

    try:
        data = read_bundle(bundle)
        record = describe_verified(data, load_checked(genesis))
    except Rejected as error:
        if as_json:
            print_json({"valid": False, "error_code": error.reason.name, "detail": error.detail})
        raise CommandError(
            f"the receipt is NOT valid: {error}",
            ExitCode.VERIFICATION_FAILED,
            "ask the sender for another export; pay nothing on this one",
        ) from None
    print_record(record, as_json=as_json)
    note("valid: miner's signature, opening, proof, block, state and authorities all hold")


def read_bundle(path: Path) -> bytes:
    """Return a bundle file's bytes, not more than a bundle can have."""
    from consensus.receipt_bundle import MAX_BUNDLE_BYTES

    with path.open("rb") as file:
        return file.read(MAX_BUNDLE_BYTES + 1)


def describe_verified(data: bytes, genesis: Any) -> dict[str, object]:
    """Return what a bundle proves under a genesis. Raises `Rejected`."""
    from consensus.receipt_bundle import TrustAnchor, decode_bundle, verify_bundle
    from genesis.document import compute_chain_id, load_verifying_key
    from ledger.blocks import AuthoritySet

    anchor = TrustAnchor(
        chain_id=compute_chain_id(genesis),
        authorities=AuthoritySet(0, genesis.authorities),
        verifying_key=load_verifying_key(genesis),
    )
    proven = verify_bundle(decode_bundle(data), anchor)
    core, settled = proven.core, proven.settled
    return {
        "valid": True,
        "chain_id": core.chain_id,
        "receipt_id": core.receipt_id,
        "job_id": core.job_id,
        "client": core.client,
        "provider": core.provider,
        "miner_id": core.miner_id,
        "claim_number": core.claim_number,
        "service": core.service,
        "model": core.model,
        "units": core.units,
        "unit_type": core.unit_type,
        "amount_base": str(settled.amount),
        "payout_base": str(settled.payout),
        "coordinator_share_base": str(settled.coordinator_share),
        "network_share_base": str(settled.network_share),
        "refund_base": str(settled.refund),
        "result_hash": core.result_hash,
        "transaction_id": f"tx_{proven.transaction_id.hex()}",
        "height": proven.height,
        "block_hash": proven.block_hash.hex(),
        "block_time_ms": proven.block_time,
        "authorities_signed": proven.signers,
        "authorities": len(genesis.authorities),
        "is_dev_chain": genesis.is_dev,
    }
