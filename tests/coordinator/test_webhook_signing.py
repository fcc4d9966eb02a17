import json
import time

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
