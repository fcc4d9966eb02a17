"""`aitbc keys`: make, list, import and export the account keys of this user."""

import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from aitbc.cli.failures import CommandError, Commands
from aitbc.cli.output import AsJson, note, print_record, print_table
from aitbc.cli.passwords import PasswordFile, get_password, read_secret_line
from node.exit_codes import ExitCode

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="Account keys: new, list, show, import, export. Encrypted at rest with Argon2id.",
)

_SEED_HEX_DIGITS: Final = 64

KeystoreFolder = Annotated[
    Path,
    typer.Option(
        "--keystore", envvar="AITBC_KEYSTORE", help="Folder of the keys.", show_default=True
    ),
]
DEFAULT_KEYSTORE: Final = Path("~/.aitbc/keys")
KeyName = Annotated[str, typer.Argument(help="Name of the key: lower-case, digits and . _ -")]


def get_keystore(folder: Path) -> Any:
    """Return the `Keystore` in a folder as a user names it."""
    from ledger.keystore import Keystore

    return Keystore(folder.expanduser())


@app.command("new")
def make_key(
    name: KeyName,
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a new account key and print its address."""
    from ledger.keystore import KeyExistsError

    store = get_keystore(folder)
    if store.get_path(name).exists():
        raise KeyExistsError(f"{store.get_path(name)} exists; keys are never overwritten")
    info = store.add(name, os.urandom(32), get_password(password_file, is_new=True))
    print_record(_describe(store, info), as_json=as_json)
    note(f"Back up {store.get_path(name)} and its password: nobody can restore them for you.")


@app.command("list")
def list_keys(folder: KeystoreFolder = DEFAULT_KEYSTORE, as_json: AsJson = False) -> None:
    """List the keys with their addresses; asks for no password."""
    store = get_keystore(folder)
    rows = [_describe(store, info) for info in store.iterate()]
    print_table("keys", ("name", "address", "public_key"), rows, as_json=as_json)


@app.command("show")
def show_key(
    name: KeyName,
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a key with the X25519 key that others seal to: `aitbc receipt open --to` takes it.

    Asks for the password, since the encryption key is derived from the seed.
    """
    from aitbc.wallet import Wallet

    store = get_keystore(folder)
    wallet = Wallet(store.open(name, get_password(password_file)))
    encryption_key = wallet.derive_encryption_key().public_key
    record = {**_describe(store, store.get(name)), "encryption_key": bytes(encryption_key).hex()}
    print_record(record, as_json=as_json)


@app.command("import")
def import_key(
    name: KeyName,
    source: Annotated[
        Path, typer.Argument(help="A key file, or a file with a seed of 64 hex digits; - is stdin.")
    ],
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Take a key from a file into the keystore, sealed under the password."""
    from ledger.keystore import open_seed, read_private_file

    store = get_keystore(folder)
    if str(source) == str(password_file) == "-":
        raise CommandError(
            "key and password cannot both come from stdin",
            ExitCode.USAGE,
            "aitbc keys import --help",
        )
    if str(source) != "-":
        data = read_private_file(source)
        is_sealed = data.lstrip().startswith(b"{")
    else:
        data, is_sealed = read_secret_line(source), False
    password = get_password(password_file, is_new=not is_sealed)
    seed = open_seed(data, password) if is_sealed else _parse_seed(data)
    info = store.add(name, seed, password)
    print_record(_describe(store, info), as_json=as_json)


@app.command("export")
def export_key(
    name: KeyName,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, mode 0600.")],
    unencrypted: Annotated[
        bool, typer.Option("--unencrypted", help="Write the bare seed as 64 hex digits.")
    ] = False,
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    password_file: PasswordFile = None,
) -> None:
    """Write a key to a file of its own: sealed as it is, or bare when asked for."""
    from ledger.keystore import read_private_file, write_private_file

    store = get_keystore(folder)
    if unencrypted:
        data = store.open(name, get_password(password_file)).hex().encode() + b"\n"
    else:
        store.get(name)
        data = read_private_file(store.get_path(name))
    write_private_file(output, data)
    note(f"wrote {output}" + (": whoever reads it owns the account" if unencrypted else ""))


@app.command("change-password")
def change_password(
    name: KeyName,
    new_password_file: Annotated[
        Path | None,
        typer.Option("--new-password-file", help="File with the new password; else a prompt."),
    ] = None,
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    password_file: PasswordFile = None,
) -> None:
    """Seal a key under another password; the old file is replaced at once."""
    store = get_keystore(folder)
    seed = store.open(name, get_password(password_file))
    if new_password_file is None:
        typed: str = typer.prompt(
            "New password", hide_input=True, confirmation_prompt=True, err=True
        )
        password = typed.encode()
    else:
        password = get_password(new_password_file)
    store.replace(name, seed, password)
    note(f"{name} opens with the new password; old backups still open with the old one")


def _describe(store: Any, info: Any) -> dict[str, object]:
    return {
        "name": info.name,
        "address": info.address,
        "public_key": info.public_key,
        "path": str(store.get_path(info.name)),
    }


def _parse_seed(data: bytes) -> bytes:
    text = data.decode("ascii", "replace").strip().lower().removeprefix("0x")
    try:
        if len(text) != _SEED_HEX_DIGITS:
            raise ValueError
        return bytes.fromhex(text)
    except ValueError:
        raise CommandError(
            "the source is neither a key file nor a seed of 64 hex digits",
            ExitCode.USAGE,
            "aitbc keys import --help",
        ) from None
