"""A trusted checkpoint: the authority set from which a verifier follows a chain, not from genesis.

Whoever verifies with one trusts whoever made it as much as the genesis document itself (rule G4):
it names the chain, its verifying key and the set of one epoch, and none of it can be checked.
"""

import json
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from genesis.document import Genesis, InvalidGenesis, compute_chain_id, load_verifying_key
from ledger import codec, crypto
from ledger.blocks import Authority, AuthoritySet
from ledger.rejection import Rejected
from zk.devkey import is_dev_key
from zk.verifying_key import InvalidKeyError, VerifyingKey

MAX_CHECKPOINT_BYTES = 64 * 1024

_Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class InvalidCheckpoint(InvalidGenesis):
    """The document is no checkpoint, or one that must not be used; the text says why."""


class Checkpoint(NamedTuple):
    """What a verifier of receipts and authority sets begins with."""

    chain_id: bytes
    is_dev: bool
    verifying_key: VerifyingKey
    authorities: AuthoritySet


def start_from_genesis(genesis: Genesis) -> Checkpoint:
    """Return where a verifier begins that has the chain's genesis document.

    Raises `UnfitVerifyingKey`.
    """
    return Checkpoint(
        compute_chain_id(genesis),
        genesis.is_dev,
        load_verifying_key(genesis),
        AuthoritySet(0, genesis.authorities),
    )


def dump_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Return the document as people keep it: indented JSON, bytes as hex, addresses in bech32m."""
    document = {
        "format": "aitbc-checkpoint/1",
        "chain_id": checkpoint.chain_id.hex(),
        "is_dev": checkpoint.is_dev,
        "verifying_key": checkpoint.verifying_key.to_bytes().hex(),
        "epoch": checkpoint.authorities.epoch,
        "authorities": [
            {"key": member.key.hex(), "account": crypto.format_address(member.account)}
            for member in checkpoint.authorities.members
        ],
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def load_checkpoint(data: bytes) -> Checkpoint:
    """Return the checked checkpoint of a document. Raises `InvalidCheckpoint`."""
    if len(data) > MAX_CHECKPOINT_BYTES:
        raise InvalidCheckpoint(f"the document is over {MAX_CHECKPOINT_BYTES} bytes")
    try:
        raw = msgspec.json.decode(data, type=_Document)
        members = tuple(
            Authority(bytes.fromhex(item.key), crypto.parse_address(item.account))
            for item in raw.authorities
        )
        # The canonical form carries every bound of the types; what it refuses is no set.
        authorities = codec.decode(
            codec.encode(AuthoritySet(raw.epoch, members)), AuthoritySet, MAX_CHECKPOINT_BYTES
        )
        key = VerifyingKey.from_bytes(bytes.fromhex(raw.verifying_key))
    except (msgspec.MsgspecError, ValueError, OverflowError, Rejected, InvalidKeyError) as error:
        raise InvalidCheckpoint(f"not a checkpoint: {error}") from None
    keys = [member.key for member in members]
    if len(set(keys)) != len(keys) or not all(map(crypto.is_valid_public_key, keys)):
        raise InvalidCheckpoint("an authority key is named twice or is not of prime order")
    if is_dev_key(key.key_id) and not raw.is_dev:
        raise InvalidCheckpoint("the DEV key proves anything; only a chain marked DEV may use it")
    return Checkpoint(bytes.fromhex(raw.chain_id), raw.is_dev, key, authorities)


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON object of the document; a member too many is an error, not a comment."""


class _AuthorityDocument(_Strict, frozen=True):
    key: str
    account: str


class _Document(_Strict, frozen=True):
    format: Literal["aitbc-checkpoint/1"]
    chain_id: _Hash
    is_dev: bool
    verifying_key: str
    epoch: int
    authorities: list[_AuthorityDocument]
