"""A receipt verifier that shares nothing with ours: PyNaCl, `json` and the rule in one sentence.

Ed25519 by `signature.key_id`, a base64url public key, over the receipt as canonical JSON (sorted
keys, no spaces, nulls dropped) without `signature` and `attestations`.
"""

import base64
import json
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey


def canonicalize(receipt: dict[str, Any]) -> bytes:
    """Return the bytes that a receipt's signature is over."""
    signed = {key: receipt[key] for key in receipt if key not in ("signature", "attestations")}
    text = json.dumps(_drop_nulls(signed), sort_keys=True, separators=(",", ":"))
    return text.encode()


def _drop_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _drop_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_drop_nulls(item) for item in value if item is not None]
    return value


def decode(text: str) -> bytes:
    """Return the bytes of base64url, padded or not."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def is_valid(receipt: dict[str, Any]) -> bool:
    """Tell whether the receipt's signature holds by the key that it names."""
    signature = receipt["signature"]
    if signature["alg"] != "Ed25519":
        return False
    try:
        key = VerifyKey(decode(signature["key_id"]))
        key.verify(canonicalize(receipt), decode(signature["sig"]))
    except (BadSignatureError, ValueError):
        return False
    return True
