"""Neo N3's encodings as the comparison needs them: keys, wallets and signed transfers of GAS.

The keys come from names, the same in every run; the wallets' passwords protect nothing.
"""

import json
import struct
from base64 import b64encode
from hashlib import new as new_hash
from hashlib import scrypt, sha256
from typing import Any, Final, NamedTuple

import base58
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NETWORK: Final = 56_753
GAS: Final = bytes.fromhex("d2a4cff31913016155e38e474a2c06d08be276cf")[::-1]
UNITS_PER_GAS: Final = 10**8
PASSWORD: Final = "bench"

_ADDRESS_VERSION: Final = 0x35
_SCRYPT: Final = {"n": 2, "r": 1, "p": 1}
_CALLED_BY_ENTRY: Final = 1
_ALL_CALL_FLAGS: Final = 15
_PUSHDATA1, _PUSHINT64, _PUSHNULL, _PUSH0 = b"\x0c", b"\x03", b"\x0b", 0x10
_SYSCALL, _PACK, _ASSERT = b"\x41", b"\xc0", b"\x39"
_CURVE: Final = ec.SECP256R1()
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def _push(data: bytes) -> bytes:
    return _PUSHDATA1 + bytes([len(data)]) + data


def _push_small(number: int) -> bytes:
    return bytes([_PUSH0 + number])


def _call_system(name: str) -> bytes:
    return _SYSCALL + sha256(name.encode()).digest()[:4]


def hash_script(script: bytes) -> bytes:
    """Return the 20 bytes that stand for a script."""
    return new_hash("ripemd160", sha256(script).digest()).digest()


def encode_address(script_hash: bytes) -> str:
    """Return an account as people write it."""
    return base58.b58encode_check(bytes([_ADDRESS_VERSION]) + script_hash).decode()


class Key:
    """A secp256r1 key and the account that it alone can spend from."""

    def __init__(self, name: str) -> None:
        secret = int.from_bytes(sha256(b"bench neo " + name.encode()).digest(), "big")
        self._secret = secret % (_ORDER - 1) + 1
        self._key = ec.derive_private_key(self._secret, _CURVE)
        public = self._key.public_key()
        self.public_key = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        self.script = _push(self.public_key) + _call_system("System.Crypto.CheckSig")
        self.account = hash_script(self.script)

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of a signature."""
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def build_wallet(self) -> bytes:
        """Return a NEP-6 wallet with this key, sealed by NEP-2 under `PASSWORD`."""
        address = encode_address(self.account)
        salt = sha256(sha256(address.encode()).digest()).digest()[:4]
        derived = scrypt(PASSWORD.encode(), salt=salt, dklen=64, **_SCRYPT)
        plain = bytes(
            left ^ right
            for left, right in zip(self._secret.to_bytes(32, "big"), derived[:32], strict=True)
        )
        encryptor = Cipher(algorithms.AES(derived[32:]), modes.ECB()).encryptor()
        sealed = encryptor.update(plain) + encryptor.finalize()
        account: dict[str, Any] = {
            "address": address,
            "key": base58.b58encode_check(b"\x01\x42\xe0" + salt + sealed).decode(),
            "label": "",
            "contract": {
                "script": _to_base64(self.script),
                "parameters": [{"name": "parameter0", "type": "Signature"}],
                "deployed": False,
            },
            "lock": False,
            "isDefault": True,
        }
        wallet = {"version": "1.0", "scrypt": _SCRYPT, "accounts": [account], "extra": None}
        return json.dumps(wallet).encode()


class Committee(NamedTuple):
    """The validators' common account: it holds all the GAS of a new chain."""

    keys: tuple[Key, ...]
    """In the order of their public points."""
    script: bytes
    needed: int

    @property
    def account(self) -> bytes:
        """The account's script hash."""
        return hash_script(self.script)


def build_committee(keys: list[Key]) -> Committee:
    """Return the account that n − ⌊(n − 1) / 3⌋ of the validators can spend from."""
    # By x, then y: a compressed point's first byte tells only the parity of y.
    ordered = tuple(sorted(keys, key=lambda key: (key.public_key[1:], key.public_key[0])))
    needed = len(keys) - (len(keys) - 1) // 3
    script = _push_small(needed) + b"".join(_push(key.public_key) for key in ordered)
    script += _push_small(len(keys)) + _call_system("System.Crypto.CheckMultisig")
    return Committee(ordered, script, needed)


def build_transfer(sender: bytes, recipient: bytes, amount: int) -> bytes:
    """Return the script that moves GAS and fails where it cannot."""
    return b"".join(
        (
            _PUSHNULL,
            _PUSHINT64 + struct.pack("<q", amount),
            _push(recipient),
            _push(sender),
            _push_small(4) + _PACK,
            _push_small(_ALL_CALL_FLAGS),
            _push(b"transfer"),
            _push(GAS),
            _call_system("System.Contract.Call"),
            _ASSERT,
        )
    )


class Fees(NamedTuple):
    """What a transaction pays, in the smallest units of GAS."""

    system: int
    network: int


def build_unsigned(script: bytes, sender: bytes, nonce: int, fees: Fees, valid_until: int) -> bytes:
    """Return a transaction without its witnesses: what is hashed for its id."""
    head = struct.pack("<BIqqI", 0, nonce, fees.system, fees.network, valid_until)
    signer = b"\x01" + sender + bytes([_CALLED_BY_ENTRY])
    return head + signer + b"\x00" + _write_bytes(script)


def compute_id(unsigned: bytes) -> str:
    """Return a transaction's id as the nodes write it."""
    return "0x" + sha256(unsigned).digest()[::-1].hex()


def sign_alone(unsigned: bytes, key: Key) -> bytes:
    """Return the whole transaction of an account with one key."""
    message = struct.pack("<I", NETWORK) + sha256(unsigned).digest()
    return unsigned + _write_witness(_push(key.sign(message)), key.script)


def sign_together(unsigned: bytes, committee: Committee) -> bytes:
    """Return the whole transaction of the validators' common account."""
    message = struct.pack("<I", NETWORK) + sha256(unsigned).digest()
    signers = committee.keys[: committee.needed]
    signatures = b"".join(_push(key.sign(message)) for key in signers)
    return unsigned + _write_witness(signatures, committee.script)


def _write_bytes(data: bytes) -> bytes:
    size = len(data)
    return (bytes([size]) if size < 0xFD else b"\xfd" + struct.pack("<H", size)) + data


def _write_witness(invocation: bytes, verification: bytes) -> bytes:
    return b"\x01" + _write_bytes(invocation) + _write_bytes(verification)


def _to_base64(data: bytes) -> str:
    return b64encode(data).decode()
