"""Reading and building genesis documents from what an operator types."""

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from aitbc.cli.failures import CommandError
from aitbc.cli.money import parse_ait
from genesis.document import (
    MAX_DOCUMENT_BYTES,
    Allocation,
    Genesis,
    InvalidGenesis,
    UnfitVerifyingKey,
    build_proof_parameters,
    compute_chain_id,
    dump_genesis,
    load_genesis,
)
from ledger import crypto
from ledger.blocks import Authority
from ledger.parameters import Parameters
from node.exit_codes import ExitCode
from zk.devkey import load_dev_verifying_key
from zk.verifying_key import InvalidKeyError, VerifyingKey


def load_checked(source: Path) -> Genesis:
    """Return the genesis in a file or in a data folder. Raises `CommandError`."""
    path = source / "genesis.json" if source.is_dir() else source
    try:
        with path.open("rb") as file:
            return load_genesis(file.read(MAX_DOCUMENT_BYTES + 1))
    except FileNotFoundError:
        raise CommandError(
            f"there is no {path}", ExitCode.CONFIGURATION, "aitbc genesis new --help"
        ) from None
    except UnfitVerifyingKey as error:
        raise CommandError(
            str(error), ExitCode.VERIFYING_KEY_REFUSED, "aitbc ceremony verify --help"
        ) from None
    except InvalidGenesis as error:
        raise CommandError(
            str(error), ExitCode.CONFIGURATION, "ask the chain's operators for its genesis.json"
        ) from None


def build_genesis(
    *,
    name: str,
    is_dev: bool,
    start: int | None,
    verifying_key: Path | None,
    authorities: Sequence[str],
    allocations: Sequence[str],
    parameters: Sequence[str],
) -> Genesis:
    """Return the checked genesis of what was typed; `start` in seconds. Raises `CommandError`."""
    key = _load_key(verifying_key, is_dev=is_dev)
    genesis = Genesis(
        name=name,
        is_dev=is_dev,
        time=1000 * (int(time.time()) if start is None else start),
        parameters=_parse_parameters(parameters),
        proof=build_proof_parameters(key),
        verifying_key=key.to_bytes(),
        authorities=tuple(_parse_authority(text) for text in authorities),
        allocations=tuple(_parse_allocation(text) for text in allocations),
    )
    try:
        return load_genesis(dump_genesis(genesis))
    except InvalidGenesis as error:
        raise CommandError(str(error), ExitCode.CONFIGURATION, "aitbc genesis new --help") from None


def format_chain_id(genesis: Genesis) -> str:
    """Return the chain id as people write it: 64 hex digits."""
    return compute_chain_id(genesis).hex()


def _load_key(path: Path | None, *, is_dev: bool) -> VerifyingKey:
    if path is None:
        if is_dev:
            return load_dev_verifying_key()
        raise CommandError(
            "a chain that is not for development needs a verifying key of its own ceremony",
            ExitCode.USAGE,
            "aitbc ceremony --help, then --verifying-key FILE",
        )
    try:
        return VerifyingKey.from_snarkjs(path.read_bytes())
    except InvalidKeyError as error:
        raise CommandError(
            f"{path}: {error}", ExitCode.VERIFYING_KEY_REFUSED, "aitbc ceremony verify --help"
        ) from None


def _parse_parameters(texts: Sequence[str]) -> Parameters:
    known = sorted(field.name for field in msgspec.structs.fields(Parameters))
    values: dict[str, int] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in known or not (value.isascii() and value.isdecimal()):
            raise CommandError(
                f"{text!r} is no parameter: NAME=WHOLE NUMBER, the names are {', '.join(known)}",
                ExitCode.USAGE,
                "aitbc genesis new --help",
            )
        values[name] = int(value)
    return Parameters(**values)


def _parse_authority(text: str) -> Authority:
    key_text, _, account = text.partition(":")
    try:
        key = bytes.fromhex(key_text)
    except ValueError:
        key = b""
    if not crypto.is_valid_public_key(key):
        raise CommandError(
            f"{key_text!r} is no Ed25519 public key: 64 hex digits",
            ExitCode.USAGE,
            "aitbc keys list",
        )
    return Authority(key, crypto.parse_address(account) if account else crypto.compute_address(key))


def _parse_allocation(text: str) -> Allocation:
    address, _, amount = text.partition("=")
    return Allocation(crypto.parse_address(address), parse_ait(amount))
