"""The genesis document: the JSON file that names a chain, and how it is read strictly.

Everything in it is hashed into the chain id, the verifying key included, so that two nodes with one
chain id agree on every rule (rule G1 of docs/protocol/genesis.md).
"""

import json
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ledger import codec, crypto
from ledger.blocks import MAX_AUTHORITIES, Authority
from ledger.parameters import Parameters, ProofParameters
from ledger.rejection import Rejected
from ledger.types import MAX_AMOUNT, Address, Amount, Record, Time
from zk.circuit import CIRCUIT_HASH
from zk.devkey import is_dev_key
from zk.verifying_key import InvalidKeyError, VerifyingKey

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
CURVE = "bls12-381"


class InvalidGenesis(ValueError):
    """The document is no genesis, or one that must not be used; the text says why."""


class UnfitVerifyingKey(InvalidGenesis):
    """The proof's key is unsafe, belongs to another circuit, or is the DEV key elsewhere."""


class Allocation(Record, frozen=True):
    """Money that an account owns from the start, in base units."""

    address: Address
    amount: Amount


class Genesis(Record, frozen=True):
    """What a chain starts from. `is_dev` marks a chain whose proofs anybody could forge."""

    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9-]+\Z")]
    is_dev: bool
    time: Time
    parameters: Parameters
    proof: ProofParameters
    verifying_key: Annotated[bytes, Meta(max_length=4096)]
    authorities: Annotated[tuple[Authority, ...], Meta(min_length=1, max_length=MAX_AUTHORITIES)]
    allocations: Annotated[tuple[Allocation, ...], Meta(min_length=1, max_length=100_000)]


def compute_chain_id(genesis: Genesis) -> bytes:
    """Return the hash that names the chain and enters every signature (32 bytes)."""
    return crypto.hash_tagged(crypto.TAG_GENESIS, codec.encode(genesis))


def load_verifying_key(genesis: Genesis) -> VerifyingKey:
    """Return the chain's verifying key. Raises `UnfitVerifyingKey` (section P5)."""
    try:
        key = VerifyingKey.from_bytes(genesis.verifying_key)
    except InvalidKeyError as error:
        raise UnfitVerifyingKey(f"the verifying key is refused: {error}") from None
    if key.key_id != genesis.proof.key_id:
        raise UnfitVerifyingKey("the verifying key is not the one that the key id names")
    if genesis.proof.circuit.hex() != CIRCUIT_HASH or genesis.proof.curve != CURVE:
        raise UnfitVerifyingKey("the proof parameters name another circuit or curve than this one")
    if is_dev_key(key.key_id) and not genesis.is_dev:
        raise UnfitVerifyingKey("the DEV key proves anything; only a chain marked DEV may use it")
    return key


def build_proof_parameters(key: VerifyingKey) -> ProofParameters:
    """Return how a genesis names a verifying key."""
    return ProofParameters(key.key_id, bytes.fromhex(CIRCUIT_HASH), CURVE)


def check_genesis(genesis: Genesis) -> Genesis:
    """Return the genesis if a chain can start from it. Raises `InvalidGenesis` (rule G2)."""
    load_verifying_key(genesis)
    keys = [authority.key for authority in genesis.authorities]
    if len(set(keys)) != len(keys) or not all(map(crypto.is_valid_public_key, keys)):
        raise InvalidGenesis("an authority key is named twice or is not of prime order")
    addresses = [allocation.address for allocation in genesis.allocations]
    if len(set(addresses)) != len(addresses):
        raise InvalidGenesis("an address has two allocations")
    if sum(allocation.amount for allocation in genesis.allocations) > MAX_AMOUNT:
        raise InvalidGenesis("the supply is over the largest amount")
    shares = genesis.parameters.coordinator_share + genesis.parameters.network_share
    if shares > 10_000:
        raise InvalidGenesis("the shares of coordinator and network exceed the whole")
    times = genesis.parameters
    if not times.round_trip_bound or not times.block_interval:
        raise InvalidGenesis("the timers of consensus must be longer than nothing")
    if times.outage_gap <= max(times.heartbeat_interval, times.block_interval):
        raise InvalidGenesis("an idle chain would be an outage, and no deadline would ever come")
    return genesis


def dump_genesis(genesis: Genesis) -> bytes:
    """Return the document as people keep it: indented JSON, bytes as hex, addresses in bech32m."""
    document = {
        "name": genesis.name,
        "is_dev": genesis.is_dev,
        "time": genesis.time,
        "parameters": _fields(genesis.parameters),
        "proof": {
            "key_id": genesis.proof.key_id.hex(),
            "circuit": genesis.proof.circuit.hex(),
            "curve": genesis.proof.curve,
        },
        "verifying_key": genesis.verifying_key.hex(),
        "authorities": [
            {"key": authority.key.hex(), "account": crypto.format_address(authority.account)}
            for authority in genesis.authorities
        ],
        "allocations": [
            {
                "address": crypto.format_address(allocation.address),
                "amount_base": str(allocation.amount),
            }
            for allocation in genesis.allocations
        ],
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def load_genesis(data: bytes) -> Genesis:
    """Return the checked genesis of a document. Raises `InvalidGenesis`."""
    if len(data) > MAX_DOCUMENT_BYTES:
        raise InvalidGenesis(f"the document is over {MAX_DOCUMENT_BYTES} bytes")
    try:
        raw = msgspec.json.decode(data, type=_Document)
        genesis = Genesis(
            name=raw.name,
            is_dev=raw.is_dev,
            time=raw.time,
            parameters=Parameters(**msgspec.structs.asdict(raw.parameters)),
            proof=ProofParameters(
                bytes.fromhex(raw.proof.key_id), bytes.fromhex(raw.proof.circuit), raw.proof.curve
            ),
            verifying_key=bytes.fromhex(raw.verifying_key),
            authorities=tuple(
                Authority(bytes.fromhex(item.key), crypto.parse_address(item.account))
                for item in raw.authorities
            ),
            allocations=tuple(
                Allocation(crypto.parse_address(item.address), int(item.amount_base))
                for item in raw.allocations
            ),
        )
        # The canonical form carries every bound of the types; what it refuses is no genesis.
        codec.decode(codec.encode(genesis), Genesis, MAX_DOCUMENT_BYTES)
    except (msgspec.MsgspecError, ValueError, OverflowError, Rejected) as error:
        raise InvalidGenesis(f"not a genesis document: {error}") from None
    return check_genesis(genesis)


def _fields(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON object of the document; a member too many is an error, not a comment."""


_ParametersDocument = msgspec.defstruct(
    "_ParametersDocument",
    [(field.name, field.type) for field in msgspec.structs.fields(Parameters)],
    bases=(_Strict,),
    frozen=True,
)


class _ProofDocument(_Strict, frozen=True):
    key_id: str
    circuit: str
    curve: str


class _AuthorityDocument(_Strict, frozen=True):
    key: str
    account: str


class _AllocationDocument(_Strict, frozen=True):
    address: str
    amount_base: Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,18})\Z")]


class _Document(_Strict, frozen=True):
    name: str
    is_dev: bool
    time: int
    parameters: _ParametersDocument  # type: ignore[valid-type]
    proof: _ProofDocument
    verifying_key: str
    authorities: list[_AuthorityDocument]
    allocations: list[_AllocationDocument]
