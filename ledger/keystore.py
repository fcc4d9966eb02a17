"""How account keys rest on disk: one encrypted file for each, readable by its owner alone.

A key file is JSON: who the key is in clear, and its 32-byte seed in an XSalsa20-Poly1305 box under
Argon2id of the password. The address in clear is bound to the seed when the box is opened, so that
a file whose label was changed is refused. Files are written whole or not at all, mode 0600, and a
file that others may read is refused rather than used.
"""

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec
import nacl.utils
from msgspec import Meta
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from ledger import crypto

FORMAT: Final = "aitbc-key/1"
SUFFIX: Final = ".key"
MAX_KEY_FILE_BYTES: Final = 4_096
MAX_PASSWORD_BYTES: Final = 1_024
_MIB: Final = 1024 * 1024


class KeystoreError(Exception):
    """A key cannot be used; the message says why."""


class WrongPasswordError(KeystoreError):
    """The password does not open the file, or the file was changed."""


class KeyMissingError(KeystoreError):
    """No key of this name is in the keystore."""


class KeyExistsError(KeystoreError):
    """A key of this name is in the keystore already."""


class LoosePermissionsError(KeystoreError):
    """Others than the owner may read a file that holds a secret."""


class Cost(NamedTuple):
    """What one guess of a password costs: Argon2id passes, and bytes of memory."""

    passes: int
    memory: int


# RFC 9106 asks for at least 64 MiB; libsodium's "moderate" takes 256 MiB and half a second.
DEFAULT_COST: Final = Cost(argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE)
LOW_COST: Final = Cost(argon2id.OPSLIMIT_INTERACTIVE, argon2id.MEMLIMIT_INTERACTIVE)
"""For passwords that are themselves 32 random bytes: guessing them is hopeless at any cost."""

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}\Z")]


class KeyInfo(msgspec.Struct, frozen=True):
    """What a key file says in clear."""

    name: str
    address: str
    public_key: str
    """64 hex digits."""


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: Annotated[str, Meta(pattern=rf"^{FORMAT}\Z")]
    address: Annotated[str, Meta(max_length=90)]
    public_key: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    # Bounded above, so that a file from elsewhere cannot take all memory or hours of work.
    passes: Annotated[int, Meta(ge=argon2id.OPSLIMIT_MIN, le=10)]
    memory: Annotated[int, Meta(ge=argon2id.MEMLIMIT_MIN, le=1024 * _MIB)]
    salt: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    sealed: Annotated[str, Meta(max_length=128)]


def seal_seed(seed: bytes, password: bytes, cost: Cost = DEFAULT_COST) -> bytes:
    """Return the content of a key file for a 32-byte Ed25519 seed."""
    assert len(seed) == 32
    salt = nacl.utils.random(argon2id.SALTBYTES)
    box = SecretBox(argon2id.kdf(SecretBox.KEY_SIZE, password, salt, cost.passes, cost.memory))
    public_key = crypto.compute_public_key(seed)
    document = _KeyFile(
        format=FORMAT,
        address=crypto.format_address(crypto.compute_address(public_key)),
        public_key=public_key.hex(),
        passes=cost.passes,
        memory=cost.memory,
        salt=salt.hex(),
        sealed=base64.b64encode(box.encrypt(seed)).decode(),
    )
    return msgspec.json.format(msgspec.json.encode(document)) + b"\n"


def open_seed(data: bytes, password: bytes) -> bytes:
    """Return the 32-byte seed in a key file's content.

    Raises `WrongPasswordError` for a wrong password or a changed file, `KeystoreError` for bytes
    that are no key file.
    """
    document = _decode(data)
    try:
        key = argon2id.kdf(
            SecretBox.KEY_SIZE,
            password,
            bytes.fromhex(document.salt),
            document.passes,
            document.memory,
        )
        seed = SecretBox(key).decrypt(base64.b64decode(document.sealed, validate=True))
    except (CryptoError, ValueError) as error:
        raise WrongPasswordError(
            "the password does not open this key, or the file was changed"
        ) from error
    if len(seed) != 32 or crypto.compute_public_key(seed).hex() != document.public_key:
        raise WrongPasswordError("the file's public key is not that of the seed inside")
    return seed


def read_key_info(data: bytes, name: str) -> KeyInfo:
    """Return what a key file's content says in clear. Raises `KeystoreError`."""
    document = _decode(data)
    return KeyInfo(name, document.address, document.public_key)


class Keystore:
    """A folder of key files, `NAME.key` each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get_path(self, name: str) -> Path:
        """Return where the key `name` is or would be. Raises `KeystoreError` for a bad name."""
        try:
            msgspec.convert(name, Name)
        except msgspec.ValidationError:
            raise KeystoreError(
                f"{name!r} is no key name: lower-case letters, digits and . _ - (at most 64)"
            ) from None
        return self.folder.joinpath(f"{name}{SUFFIX}")

    def add(self, name: str, seed: bytes, password: bytes, cost: Cost = DEFAULT_COST) -> KeyInfo:
        """Write a new key. Raises `KeyExistsError`."""
        path = self.get_path(name)
        if path.exists():
            raise KeyExistsError(f"{path} exists; keys are never overwritten")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = seal_seed(seed, password, cost)
        write_private_file(path, data)
        return read_key_info(data, name)

    def replace(self, name: str, seed: bytes, password: bytes, cost: Cost = DEFAULT_COST) -> None:
        """Seal an existing key under another password, by one atomic exchange of the file."""
        write_private_file(self._find(name), seal_seed(seed, password, cost), is_new=False)

    def open(self, name: str, password: bytes) -> bytes:
        """Return the seed of a key. Raises `KeystoreError` and its kinds."""
        return open_seed(read_private_file(self._find(name)), password)

    def get(self, name: str) -> KeyInfo:
        """Return what the key `name` says in clear. Raises `KeyMissingError`."""
        return read_key_info(read_private_file(self._find(name)), name)

    def iterate(self) -> Iterator[KeyInfo]:
        """Yield every key's clear part, by name."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            yield read_key_info(read_private_file(path), path.name.removesuffix(SUFFIX))

    def _find(self, name: str) -> Path:
        path = self.get_path(name)
        if not path.is_file():
            raise KeyMissingError(f"no key {name!r} in {self.folder}")
        return path


def read_private_file(path: Path, limit: int = MAX_KEY_FILE_BYTES) -> bytes:
    """Return a secret file's bytes. Raises `LoosePermissionsError`, or `OSError`."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            mode = stat.S_IMODE(status.st_mode)
            raise LoosePermissionsError(f"{path} has mode {mode:04o}; others must not read it")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise KeystoreError(f"{path} is over {limit} bytes: no key file")
    return data


def write_private_file(path: Path, data: bytes, *, is_new: bool = True) -> None:
    """Write a file of mode 0600 whole and durably, or leave what was there.

    With `is_new` an existing file is never replaced: raises `KeyExistsError`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{nacl.utils.random(4).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            os.link(temporary, path)
        else:
            temporary.rename(path)
        sync_folder(path.parent)
    except FileExistsError:
        raise KeyExistsError(f"{path} exists; keys are never overwritten") from None
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _decode(data: bytes) -> _KeyFile:
    try:
        document = msgspec.json.decode(data, type=_KeyFile)
    except msgspec.MsgspecError as error:
        raise KeystoreError(f"not a key file: {error}") from None
    address = crypto.compute_address(bytes.fromhex(document.public_key))
    if document.address != crypto.format_address(address):
        raise KeystoreError("not a key file: its address is not that of its public key")
    return document
