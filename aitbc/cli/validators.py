"""`aitbc validators`: who certifies the chain's blocks, and votes on who does."""

from pathlib import Path
from typing import Annotated, Any

import typer

from aitbc.cli.api import DEFAULT_URL, ApiUrl, open_client
from aitbc.cli.failures import CommandError, Commands
from aitbc.cli.keys import DEFAULT_KEYSTORE, KeystoreFolder, get_keystore
from aitbc.cli.output import AsJson, print_json, print_record, print_table
from aitbc.cli.passwords import PasswordFile, get_password
from aitbc.cli.sending import ChainId, Timeout, Wait, sign_and_send, wait_until_final
from node.exit_codes import ExitCode

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="The authorities: list, propose-add, propose-remove, vote. A quorum of votes decides.",
)

Data = Annotated[
    Path | None, typer.Option("--data", envvar="AITBC_DATA", help="Vote with this node's key.")
]
KeyName = Annotated[
    str | None, typer.Option("--from", help="Vote with this key of the keystore instead.")
]
PublicKey = Annotated[str, typer.Argument(metavar="KEY", help="A public key: 64 hex digits.")]


@app.command("list")
def list_validators(api_url: ApiUrl = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the authorities of the next block, and the changes that are voted on."""
    with open_client(api_url, needs_key=False) as client:
        shown = client.chain.list_validators()
    if as_json:
        print_json(shown)
        return
    now = {each["public_key"] for each in shown["validators"]}
    later = {each["public_key"] for each in shown["next_validators"]}
    members = shown["validators"] + [
        each for each in shown["next_validators"] if each["public_key"] not in now
    ]
    rows = [
        {**each, "status": _describe_change(each["public_key"], now, later)} for each in members
    ]
    columns = ("index", "public_key", "address", "status")
    print_table("validators", columns, rows, as_json=False)
    print_table(
        "open_proposals",
        ("action", "public_key", "votes", "valid_until", "proposal_id"),
        [
            {**each, "votes": f"{len(each['voters'])} of {shown['quorum']}"}
            for each in shown["proposals"]
        ],
        as_json=False,
    )


@app.command("propose-add")
def propose_add(
    key: PublicKey,
    account: Annotated[
        str | None,
        typer.Option("--account", help="Address that it is paid to; that of the key by default."),
    ] = None,
    data: Data = None,
    sender: KeyName = None,
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    password_file: PasswordFile = None,
    chain_id: ChainId = None,
    wait: Wait = True,
    timeout: Timeout = 30.0,
    api_url: ApiUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Propose that an authority joins, and vote for it."""
    from ledger import crypto
    from ledger.transactions import AuthorityVote

    public_key = _parse_key(key)
    address = crypto.parse_address(account) if account else crypto.compute_address(public_key)
    wallet, chain_id = _open_wallet(data, sender, folder, password_file, chain_id)
    with open_client(api_url, needs_key=False) as client:
        payload = AuthorityVote(True, public_key, address)
        record = _vote(client, wallet, payload, chain_id, timeout if wait else None)
    print_record(record, as_json=as_json)


@app.command("propose-remove")
def propose_remove(
    key: PublicKey,
    data: Data = None,
    sender: KeyName = None,
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    password_file: PasswordFile = None,
    chain_id: ChainId = None,
    wait: Wait = True,
    timeout: Timeout = 30.0,
    api_url: ApiUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Propose that an authority leaves, and vote for it."""
    from ledger import crypto
    from ledger.transactions import AuthorityVote

    public_key = _parse_key(key)
    wallet, chain_id = _open_wallet(data, sender, folder, password_file, chain_id)
    with open_client(api_url, needs_key=False) as client:
        members = client.chain.list_validators()["next_validators"]
        found = next((each for each in members if each["public_key"] == key), None)
        if found is None:
            raise CommandError(
                f"{key} is no authority", ExitCode.API_REFUSED, "aitbc validators list"
            )
        payload = AuthorityVote(False, public_key, crypto.parse_address(found["address"]))
        record = _vote(client, wallet, payload, chain_id, timeout if wait else None)
    print_record(record, as_json=as_json)


@app.command("vote")
def vote(
    proposal: Annotated[str, typer.Argument(help="An open proposal: proposal_…")],
    data: Data = None,
    sender: KeyName = None,
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    password_file: PasswordFile = None,
    chain_id: ChainId = None,
    wait: Wait = True,
    timeout: Timeout = 30.0,
    api_url: ApiUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Vote for a proposal of `aitbc validators list`."""
    wallet, chain_id = _open_wallet(data, sender, folder, password_file, chain_id)
    with open_client(api_url, needs_key=False) as client:
        proposals = client.chain.list_validators()["proposals"]
        found = next((each for each in proposals if each["proposal_id"] == proposal), None)
        if found is None:
            raise CommandError(
                f"{proposal} is not open", ExitCode.API_REFUSED, "aitbc validators list"
            )
        payload = _read_proposal(found)
        record = _vote(client, wallet, payload, chain_id, timeout if wait else None)
    print_record(record, as_json=as_json)


def _vote(
    client: Any, wallet: Any, payload: Any, chain_id: str | None, timeout: float | None
) -> dict[str, Any]:
    """Send a vote; wait until it is final, where a time is given. Raises `CommandError`."""
    from ledger import crypto

    sent = sign_and_send(client, wallet, payload, chain_id)
    record: dict[str, Any] = {
        "proposal_id": _name_proposal(payload),
        "action": "add" if payload.is_add else "remove",
        "public_key": payload.key.hex(),
        "address": crypto.format_address(payload.account),
        "voter": wallet.public_key.hex(),
        **sent,
    }
    if timeout is None:
        return record
    final = wait_until_final(client, sent["transaction_id"], timeout).to_dict()
    events = {event["type"]: event for event in final["events"]}
    voted, changed = events["authority_voted"], events.get("authorities_changed")
    return {
        **record,
        "status": final["status"],
        "height": final["height"],
        "votes": voted["votes"],
        "quorum": voted["quorum"],
        "passed": changed is not None,
        "epoch": changed["epoch"] if changed else None,
    }


def _open_wallet(
    data: Path | None,
    sender: str | None,
    folder: Path,
    password_file: Path | None,
    chain_id: str | None,
) -> tuple[Any, str | None]:
    """Return what votes, and the only chain that it may vote on where that is known."""
    from aitbc.wallet import Wallet

    if sender is not None:
        return Wallet(get_keystore(folder).open(sender, get_password(password_file))), chain_id
    if data is None:
        raise CommandError(
            "a vote needs the key of an authority",
            ExitCode.USAGE,
            "give --data DIR of its node, or --from NAME of the keystore",
        )
    from genesis.document import compute_chain_id
    from node.folder import open_genesis, open_seed
    from node.settings import load_settings

    wallet = Wallet(open_seed(load_settings(data=data)))
    return wallet, chain_id or compute_chain_id(open_genesis(data)).hex()


def _parse_key(text: str) -> bytes:
    from ledger import crypto

    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if key.hex() != text or not crypto.is_valid_public_key(key):
        raise CommandError(
            f"{text!r} is no Ed25519 public key: 64 hex digits",
            ExitCode.USAGE,
            "aitbc keys show NAME, by its owner",
        )
    return key


def _read_proposal(shown: dict[str, Any]) -> Any:
    """Return the vote for a proposal, whose name must be that of what it shows."""
    from ledger import crypto
    from ledger.transactions import AuthorityVote

    payload = AuthorityVote(
        shown["action"] == "add",
        bytes.fromhex(shown["public_key"]),
        crypto.parse_address(shown["address"]),
    )
    if _name_proposal(payload) != shown["proposal_id"]:
        raise CommandError(
            "the node shows another change under this name",
            ExitCode.VERIFICATION_FAILED,
            "set AITBC_API_URL to another node of your chain",
        )
    return payload


def _name_proposal(payload: Any) -> str:
    from ledger.authorities import compute_proposal_id

    name = compute_proposal_id(payload.is_add, payload.key, payload.account)
    return f"proposal_{name.hex()}"


def _describe_change(key: str, now: set[str], later: set[str]) -> str:
    if key not in later:
        return "leaving"
    return "in force" if key in now else "joining"
