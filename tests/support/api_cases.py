"""Each operation of the API: who may call it, with which words, and whose the object is.

Written from the HTTP contract and not from the routes: a route that lets too many in is found, and
so is one that nobody thought about.
"""

from typing import Any, Final, NamedTuple

ANYBODY: Final[frozenset[str]] = frozenset()
CLIENTS: Final = frozenset({"client"})
MINERS: Final = frozenset({"miner"})
OPERATORS: Final = frozenset({"operator"})
ANY_KEY: Final = CLIENTS | MINERS | OPERATORS


class Case(NamedTuple):
    """A request that is right when its owner sends it; `{name}` stands for an id of `Holdings`."""

    roles: frozenset[str] = ANYBODY
    """Whose keys are taken; none: no key is asked for."""
    path: str = ""
    """Filled in; empty where the operation's path has no parameters."""
    body: Any = None
    parties: tuple[str, ...] = ()
    """The accounts that the object is shown to; none: it is nobody's own."""
    refusal: int = 404
    """What others get. Only where everybody reads on the chain who has what, more than a 404."""
    form: bool = False
    """The body goes as the fields of a form, with a file."""


JOB: Final = {"prompt": "Hello", "max_cost": "0.1"}
CLIENT: Final = ("client",)
MINER: Final = ("miner",)
BOTH: Final = ("client", "miner")
MINE: Final = {"miner_id": "{me}"}
DONE: Final = {**MINE, "result": "Ho", "units": 3}
NOBODYS_MODEL: Final = "gpt-4"
"""Registered miners hold none of it: such a call is refused before anything is locked."""
CHAT: Final = {"model": NOBODYS_MODEL, "messages": [{"role": "user", "content": "Hi"}]}
HOOK: Final = {"url": "http://127.0.0.1:1024/other", "events": ["job_update"]}

JOBS: Final = {
    "POST /v1/jobs": Case(CLIENTS, body=JOB),
    "GET /v1/jobs": Case(CLIENTS),
    "GET /v1/jobs/history": Case(CLIENTS),
    "GET /v1/jobs/{job_id}": Case(ANY_KEY, "/v1/jobs/{settled}", parties=BOTH),
    "GET /v1/jobs/{job_id}/results": Case(CLIENTS, "/v1/jobs/{settled}/results", parties=CLIENT),
    "GET /v1/jobs/{job_id}/result": Case(CLIENTS, "/v1/jobs/{settled}/result", parties=CLIENT),
    "GET /v1/jobs/{job_id}/content": Case(CLIENTS, "/v1/jobs/{settled}/content", parties=CLIENT),
    "GET /v1/jobs/{job_id}/download": Case(CLIENTS, "/v1/jobs/{settled}/download", parties=CLIENT),
    "GET /v1/jobs/{job_id}/receipt": Case(CLIENTS, "/v1/jobs/{settled}/receipt", parties=CLIENT),
    "GET /v1/jobs/{job_id}/receipts": Case(CLIENTS, "/v1/jobs/{settled}/receipts", parties=CLIENT),
    "GET /v1/jobs/{job_id}/stream": Case(CLIENTS, "/v1/jobs/{settled}/stream", parties=CLIENT),
    "POST /v1/jobs/{job_id}/cancel": Case(CLIENTS, "/v1/jobs/{queued}/cancel", parties=CLIENT),
    "DELETE /v1/jobs/{job_id}": Case(CLIENTS, "/v1/jobs/{queued}", parties=CLIENT),
}
LEASES: Final = {
    "GET /v1/jobs/available": Case(MINERS, "/v1/jobs/available?miner_id={me}"),
    "GET /v1/jobs/{job_id}/files/{file_id}": Case(
        MINERS, "/v1/jobs/{leased}/files/{source}?miner_id={me}", None, MINER, 409
    ),
    "POST /v1/jobs/{job_id}/claim": Case(MINERS, "/v1/jobs/{queued}/claim", MINE),
    "POST /v1/jobs/{job_id}/heartbeat": Case(
        MINERS, "/v1/jobs/{leased}/heartbeat", {**MINE, "progress": 1}, MINER, 409
    ),
    "POST /v1/jobs/{job_id}/stream": Case(
        MINERS, "/v1/jobs/{leased}/stream?miner_id={me}", b'{"delta": "H"}\n', MINER, 409
    ),
    "POST /v1/jobs/{job_id}/files": Case(
        MINERS, "/v1/jobs/{leased}/files?miner_id={me}", {}, MINER, 409, form=True
    ),
    "POST /v1/jobs/{job_id}/complete": Case(
        MINERS, "/v1/jobs/{leased}/complete", DONE, MINER, 409
    ),
    "POST /v1/jobs/{job_id}/fail": Case(MINERS, "/v1/jobs/{leased}/fail", MINE, MINER, 409),
    "POST /v1/miners/{job_id}/result": Case(
        MINERS, "/v1/miners/{leased}/result",
        {**MINE, "result": "Ho", "metrics": {"units": 3}}, MINER, 409,
    ),
    "POST /v1/miners/{job_id}/fail": Case(MINERS, "/v1/miners/{leased}/fail", MINE, MINER, 409),
}  # fmt: skip
MINING: Final = {
    "POST /v1/miners/register": Case(MINERS, body={**MINE, "capabilities": [], "models": ["x"]}),
    "POST /v1/miners/heartbeat": Case(MINERS, body=MINE),
    "POST /v1/miners/poll": Case(MINERS, body={**MINE, "max_wait_seconds": 0}),
    "GET /v1/miners/{miner_id}": Case(ANY_KEY, "/v1/miners/{miner}"),
    "GET /v1/miners/{miner_id}/stats": Case(ANY_KEY, "/v1/miners/{miner}/stats"),
    "GET /v1/miners/{miner_id}/earnings": Case(
        MINERS, "/v1/miners/{miner}/earnings", parties=MINER
    ),
}  # fmt: skip
RECEIPTS: Final = {
    "GET /v1/receipts": Case(ANY_KEY),
    "GET /v1/receipts/{receipt_id}": Case(ANY_KEY, "/v1/receipts/{receipt}", parties=BOTH),
    "GET /v1/receipts/{receipt_id}/opening": Case(
        ANY_KEY, "/v1/receipts/{receipt}/opening", parties=BOTH
    ),
    "POST /v1/receipts/verify": Case(body={"receipt": {"receipt_id": "{receipt}"}}),
}  # fmt: skip
FILES: Final = {
    "POST /v1/files": Case(ANY_KEY, body={}, form=True),
    "GET /v1/files": Case(ANY_KEY),
    "GET /v1/files/{file_id}": Case(ANY_KEY, "/v1/files/{file}", parties=CLIENT),
    "DELETE /v1/files/{file_id}": Case(ANY_KEY, "/v1/files/{file}", parties=CLIENT),
}
SERVICES: Final = {
    "POST /v1/services/whisper/transcribe": Case(CLIENTS, body={"audio_url": "{source}"}),
    "POST /v1/services/stable-diffusion/generate": Case(CLIENTS, body={"prompt": "a circle"}),
    "POST /v1/services/llm/inference": Case(CLIENTS, body={"prompt": "Hi"}),
    "POST /v1/services/ffmpeg/transcode": Case(
        CLIENTS, body={"input_url": "{source}", "output_format": "mp4"}
    ),
    "POST /v1/services/blender/render": Case(CLIENTS, body={"blend_file_url": "{source}"}),
    "GET /v1/registry/services": Case(),
    "GET /v1/registry/services/{service_id}": Case(path="/v1/registry/services/{service}"),
    "GET /v1/registry/services/{service_id}/schema": Case(
        path="/v1/registry/services/{service}/schema"
    ),
    "GET /v1/registry/services/{service_id}/requirements": Case(
        path="/v1/registry/services/{service}/requirements"
    ),
    "POST /v1/registry/services/validate": Case(
        body={"service_id": "{service}", "request_data": {"prompt": "Hi"}}
    ),
}  # fmt: skip
MARKET: Final = {
    "POST /v1/marketplace/offers": Case(
        MINERS, body={**MINE, "job_type": "llm_inference", "price": "0.0002"}
    ),
    "GET /v1/marketplace/offers": Case(),
    "GET /v1/marketplace/offers/{offer_id}": Case(path="/v1/marketplace/offers/{offer}"),
    "POST /v1/marketplace/offers/{offer_id}/accept": Case(
        CLIENTS, "/v1/marketplace/offers/{offer}/accept", {"job_id": "{queued}"}
    ),
    "DELETE /v1/marketplace/offers/{offer_id}": Case(
        MINERS, "/v1/marketplace/offers/{offer}", parties=MINER
    ),
    "GET /v1/marketplace/stats": Case(),
}  # fmt: skip
OPENAI: Final = {
    "POST /v1/chat/completions": Case(CLIENTS, body=CHAT),
    "POST /v1/completions": Case(CLIENTS, body={"model": NOBODYS_MODEL, "prompt": "Hi"}),
    "POST /v1/embeddings": Case(CLIENTS, body={"model": NOBODYS_MODEL, "input": "Hi"}),
    "POST /v1/audio/transcriptions": Case(CLIENTS, body={"model": NOBODYS_MODEL}, form=True),
    "POST /v1/images/generations": Case(CLIENTS, body={"model": NOBODYS_MODEL, "prompt": "Hi"}),
    "GET /v1/models": Case(ANY_KEY),
    "GET /v1/models/{model}": Case(ANY_KEY, "/v1/models/{model}"),
}
_HOOK: Final = "/v1/webhooks/{webhook}"
WEBHOOKS: Final = {
    "POST /v1/webhooks": Case(ANY_KEY, body=HOOK),
    "GET /v1/webhooks": Case(ANY_KEY),
    "GET /v1/webhooks/{webhook_id}": Case(ANY_KEY, _HOOK, parties=CLIENT),
    "POST /v1/webhooks/{webhook_id}/test": Case(ANY_KEY, _HOOK + "/test", parties=CLIENT),
    "POST /v1/webhooks/{webhook_id}/rotate": Case(ANY_KEY, _HOOK + "/rotate", parties=CLIENT),
    "GET /v1/webhooks/{webhook_id}/deliveries": Case(
        ANY_KEY, _HOOK + "/deliveries", parties=CLIENT
    ),
    "POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": Case(
        ANY_KEY, _HOOK + "/deliveries/{delivery}/redeliver", parties=CLIENT
    ),
    "DELETE /v1/webhooks/{webhook_id}": Case(ANY_KEY, _HOOK, parties=CLIENT),
}  # fmt: skip
OPERATION: Final = {
    "POST /v1/api-keys": Case(OPERATORS, body={"role": "client"}),
    "GET /v1/api-keys": Case(OPERATORS),
    "DELETE /v1/api-keys/{key_id}": Case(OPERATORS, "/v1/api-keys/{key}"),
    "GET /v1/audit/log": Case(OPERATORS),
}
OPEN: Final = {
    **{
        f"GET {path}": Case()
        for path in (
            "/health", "/v1/health", "/livez", "/readyz", "/metrics", "/docs", "/redoc",
            "/v1/chain/status", "/v1/chain/validators", "/v1/chain/successions",
            "/v1/chain/genesis", "/v1/chain/peers", "/v1/audit/supply",
        )
    },
    "GET /docs/{name}": Case(path="/docs/swagger-ui.css"),
    "POST /v1/transactions": Case(body={"raw": "00"}),
    "GET /v1/transactions/{hash}": Case(path="/v1/transactions/{transaction}"),
    "GET /v1/accounts/{address}": Case(path="/v1/accounts/{address}"),
    **{
        f"GET {prefix}/explorer/{path}": Case(path=f"{prefix}/explorer/{filled}")
        for prefix in ("", "/v1")
        for path, filled in (
            *((name, name) for name in (
                "blocks", "transactions", "receipts", "miners", "offers", "stats",
            )),
            ("blocks/{block}", "blocks/{height}"),
            ("transactions/{hash}", "transactions/{transaction}"),
            ("receipts/{receipt}", "receipts/{receipt}"),
            ("accounts/{address}", "accounts/{address}"),
            ("jobs/{job}", "jobs/{settled}"),
            ("miners/{miner}", "miners/{miner}"),
            ("offers/{offer}", "offers/{offer}"),
            ("search", "search?q={settled}"),
        )
    },
}  # fmt: skip
CASES: Final[dict[str, Case]] = {
    **JOBS, **LEASES, **MINING, **RECEIPTS, **FILES, **SERVICES, **MARKET, **OPENAI, **WEBHOOKS,
    **OPERATION, **OPEN,
}  # fmt: skip
