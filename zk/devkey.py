"""Decides which key a development network proves and verifies with.

The DEV key was made from two public beacons alone (`python -m zk.ceremony dev-key` makes the same
bytes again), so everybody knows its secrets and can prove anything under it. A chain that is not
marked as a development chain must refuse it: `is_dev_key`. Rule P5.5 of docs/protocol/proof.md.
"""

from functools import lru_cache
from importlib import resources
from typing import Final

from zk.prover import ProvingKey
from zk.verifying_key import VerifyingKey

DEV_PROVING_KEY_FILE: Final = "dev.zkey"
DEV_VERIFYING_KEY_FILE: Final = "dev_verification_key.json"
DEV_KEY_ID: Final = bytes.fromhex(
    "25b76f7bf61a1eb2f63791e6573669b962dfc601584f23cb693871d645fe879f"
)


def is_dev_key(key_id: bytes) -> bool:
    """True for the key whose secrets are public."""
    return key_id == DEV_KEY_ID


@lru_cache(maxsize=1)
def load_dev_verifying_key() -> VerifyingKey:
    """The DEV verifying key from the package. Raises OSError where the file is missing."""
    key = VerifyingKey.from_snarkjs(_read_key_file(DEV_VERIFYING_KEY_FILE))
    assert key.key_id == DEV_KEY_ID, "the packaged DEV verifying key was changed"
    return key


@lru_cache(maxsize=1)
def load_dev_proving_key() -> ProvingKey:
    """The DEV proving key from the package: 2.5 MB, about 0.1 s."""
    key = ProvingKey.load(read_dev_zkey())
    assert key.verifying_key.key_id == DEV_KEY_ID, "the packaged DEV proving key was changed"
    return key


def read_dev_zkey() -> bytes:
    """The DEV proving key as the file that snarkjs made."""
    return _read_key_file(DEV_PROVING_KEY_FILE)


def _read_key_file(name: str) -> bytes:
    return resources.files("zk.keys").joinpath(name).read_bytes()
