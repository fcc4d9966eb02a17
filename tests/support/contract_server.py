"""A coordinator's miner side on a real ledger, so small that tests can break it at will.

Every transaction becomes a block of its own under the real rules, proofs included. What goes wrong
is asked for by `faults`: a route's name, and what happens to its next requests.
"""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import BodyPartReader, web
from nacl.public import PublicKey, SealedBox

from aitbc.wallet import Wallet
from genesis.document import Allocation, Genesis, build_proof_parameters
from genesis.state import build_genesis_state
from ledger import crypto, terms, transactions
from ledger.blocks import Authority, Header
from ledger.context import Rules
from ledger.entries import JobStatus
from ledger.outcomes import Outcome
from ledger.parameters import Parameters
from ledger.rejection import Rejected, Rejection
from ledger.state import MemoryState, get_account, get_job, get_miner
from ledger.terms import Terms
from ledger.transactions import JobCancel, JobSubmit
from ledger.transition import Execution
from tests.support.stream_receiver import StreamReceiver
from zk.devkey import load_dev_verifying_key
from zk.verifier import verify

CLIENT = Wallet(bytes([1]) * 32)
MINER = Wallet(bytes([2]) * 32)
NODE = Wallet(bytes([3]) * 32)
FUNDS = 1_000 * 10**9
MODEL = "smollm2-135m@b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def read_clock() -> int:
    return time.time_ns() // 1_000_000


class ContractServer:
    """One chain, one coordinator. `faults[route]` is used up from the front: an HTTP status to
    answer with, "cut" to do the work and lose the answer, "drop" to lose the request, "forget" to
    say yes and do nothing.
    """

    def __init__(self) -> None:
        key = load_dev_verifying_key()
        proof = build_proof_parameters(key)
        genesis = Genesis(
            name="contract",
            is_dev=True,
            time=read_clock() - 1_000,
            parameters=Parameters(),
            proof=proof,
            verifying_key=key.to_bytes(),
            authorities=(Authority(NODE.public_key, NODE.address),),
            allocations=tuple(
                Allocation(wallet.address, FUNDS) for wallet in (CLIENT, MINER, NODE)
            ),
        )
        first = build_genesis_state(genesis)
        assert isinstance(first.changes.base, MemoryState)
        self.state = first.changes.base
        self.state.commit(first.changes)
        self.head: Header = first.block.header
        self.rules = Rules(
            self.head.chain_id,
            genesis.parameters,
            proof,
            lambda public, data: verify(key, public, data),
        )
        self.outcomes: dict[bytes, tuple[int, Outcome]] = {}
        self.status_changes: dict[str, Any] = {}
        """What the node says of the chain in place of the truth."""
        self.content: dict[bytes, dict[str, Any]] = {}
        self.terms: dict[bytes, Terms] = {}
        self.requirements: dict[str, Any] = {}
        """What every job asks of hardware."""
        self.completed: dict[bytes, dict[str, Any]] = {}
        self.heartbeats: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []
        self.receiver = StreamReceiver()
        self.files: dict[str, bytes] = {}
        """Input files of any job, by their id."""
        self.stored: list[tuple[str, str, bytes]] = []
        """Name, media type and bytes of each result file."""
        self.cancel_requested: set[bytes] = set()
        self.faults: dict[str, list[int | str]] = {}
        self.asked: list[str] = []
        self.keeps_the_key = False
        """Whether the miner's account is custodial here, and its terms need no seal."""
        self.lease_seconds = 60
        self.clock_offset = 0
        self.url = ""

    # The chain.

    def apply(self, raw: bytes) -> bytes:
        """Make a block of one transaction and return its id. Raises `Rejected`."""
        transaction = transactions.decode_transaction(raw)
        verified = transactions.verify_transaction(transaction, raw, self.head.chain_id)
        if verified.id in self.outcomes:
            return verified.id
        execution = self._begin()
        outcome = execution.apply(verified)
        self._end(execution)
        self.outcomes[verified.id] = (self.head.height, outcome)
        return verified.id

    def tick(self) -> None:
        """Make an empty block: deadlines that are due are processed."""
        self._end(self._begin())

    def _begin(self) -> Execution:
        now = max(self.head.time + 1, read_clock() + self.clock_offset)
        return Execution(self.state, self.head, now, NODE.address, self.rules)

    def _end(self, execution: Execution) -> None:
        executed = execution.finish()
        self.state.commit(executed.changes)
        self.head = msgspec.structs.replace(
            self.head, height=self.head.height + 1, time=execution.context.time
        )

    def send(self, wallet: Wallet, payload: transactions.Payload) -> Outcome:
        """Sign and apply a payload of the test's own."""
        signed = wallet.sign(
            payload,
            chain_id=self.head.chain_id,
            nonce=get_account(self.state, wallet.address).nonce,
            fee_rate=10,
            valid_until=self.head.height + 100,
        )
        return self.outcomes[self.apply(signed.raw)][1]

    def submit(
        self,
        prompt: str = "Name a colour.",
        *,
        max_tokens: int = 8,
        seconds: int = 120,
        **changed: Any,
    ) -> str:
        """Escrow a text job and return its id."""
        content = {
            "service": "llm_inference",
            "model": MODEL,
            "input": {"prompt": prompt},
            "params": {"max_tokens": max_tokens, "temperature": 0.7},
        }
        most = 64 + len(prompt) + max_tokens
        return self.submit_content(content, most, seconds=seconds, **changed)

    def submit_content(
        self, content: dict[str, Any], max_units: int, *, seconds: int = 120, **changed: Any
    ) -> str:
        """Escrow a job and return its id; `changed` members of the terms are lied about."""
        tag = crypto.hash_tagged(b"test", str(len(self.content)).encode())
        job = terms.compute_job_id(CLIENT.address, tag)
        now = max(read_clock(), self.head.time)
        max_price = 1_000
        opened = Terms(
            job=job,
            client=CLIENT.address,
            max_units=max_units,
            max_price=max_price,
            not_before=0,
            deadline=now + seconds * 1000,
            model=terms.compute_model_hash(content["model"]),
            input_hash=terms.compute_content_hash(content),
            salt=terms.derive_salt(CLIENT.derive_salt_secret(), b"offer", job),
        )
        outcome = self.send(
            CLIENT,
            JobSubmit(
                idempotency_tag=tag,
                service=content["service"],
                billing=0,
                coordinator=NODE.address,
                escrow=max_units * max_price,
                job_commit=terms.commit_terms(opened),
                queue_deadline=now + seconds * 500,
                execution_limit=self.lease_seconds * 1000,
                total_deadline=now + seconds * 1000,
            ),
        )
        assert outcome.code == 0, outcome.code
        self.content[job] = content
        self.terms[job] = msgspec.structs.replace(opened, **changed)
        return f"job_{job.hex()}"

    def cancel(self, job_id: str) -> None:
        """Have the client cancel."""
        job = bytes.fromhex(job_id.removeprefix("job_"))
        assert self.send(CLIENT, JobCancel(job)).code == 0
        self.cancel_requested.add(job)

    def get_status(self, job_id: str) -> JobStatus:
        """Return where a job stands on the chain."""
        job = get_job(self.state, bytes.fromhex(job_id.removeprefix("job_")))
        assert job is not None
        return job.status

    async def wait_for(self, job_id: str, *statuses: JobStatus, seconds: float = 30) -> JobStatus:
        """Return the status of a job once it is one of those."""
        async with asyncio.timeout(seconds):
            while True:
                status = self.get_status(job_id)
                if status in statuses:
                    return status
                await asyncio.sleep(0.02)

    # The routes.

    async def get_chain_status(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "chain_id": self.head.chain_id.hex(),
                "height": self.head.height,
                "minimum_fee_rate": self.rules.parameters.minimum_fee_rate,
                "maximum_validity": self.rules.parameters.maximum_validity,
                "proof_key_id": self.rules.proof.key_id.hex(),
                **self.status_changes,
            }
        )

    async def get_account(self, request: web.Request) -> web.Response:
        account = get_account(self.state, crypto.parse_address(request.match_info["address"]))
        return web.json_response(
            {
                "address": request.match_info["address"],
                "balance_base": str(account.balance),
                "nonce": account.nonce,
                "pending_nonce": account.nonce,
            }
        )

    async def get_transaction(self, request: web.Request) -> web.Response:
        found = self.outcomes.get(bytes.fromhex(request.match_info["id"].removeprefix("tx_")))
        if found is None:
            return refuse(404, "TRANSACTION_NOT_FOUND")
        return web.json_response({"status": "final", "height": found[0], "code": found[1].code})

    async def post_transactions(self, request: web.Request) -> web.Response:
        ids = [self.apply(bytes.fromhex(raw)) for raw in await request.json()]
        return web.json_response(
            [{"transaction_id": f"tx_{found.hex()}", "status": "accepted"} for found in ids]
        )

    async def get_miner(self, request: web.Request) -> web.Response:
        miner = get_miner(self.state, request.match_info["id"])
        if miner is None:
            return refuse(404, "MINER_NOT_FOUND")
        return web.json_response(
            {
                "miner_id": request.match_info["id"],
                "is_active": miner.is_active,
                "encryption_key": miner.encryption_key.hex(),
                "metadata": json.loads(miner.metadata),
            }
        )

    async def register(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "transaction" in body:
            self.require_applied(self.apply(bytes.fromhex(body["transaction"])))
        return web.json_response({"miner_id": body["miner_id"], "status": "active"}, status=201)

    async def get_available(self, request: web.Request) -> web.Response:
        name = request.query["miner_id"]
        for _ in range(1 + 20 * int(request.query.get("wait", "0"))):
            for job_id, content in self.content.items():
                job = get_job(self.state, job_id)
                assert job is not None
                held_before = {attempt.miner for attempt in job.attempts}
                if job.status is JobStatus.QUEUED and name not in held_before:
                    return web.json_response(
                        {
                            "job_id": f"job_{job_id.hex()}",
                            "status": "pending",
                            "service": job.service,
                            "model": content["model"],
                            "billing": job.billing,
                            "max_price_base": str(self.terms[job_id].max_price),
                        }
                    )
            await asyncio.sleep(0.05)
        return web.json_response(None)

    async def claim(self, request: web.Request) -> web.Response:
        body, job_id = await request.json(), get_job_id(request)
        self.require_applied(self.apply(bytes.fromhex(body["transaction"])))
        job = get_job(self.state, job_id)
        miner = get_miner(self.state, body["miner_id"])
        assert job is not None and miner is not None
        if job.lease is None or job.status is JobStatus.QUEUED:
            raise Rejected(Rejection.JOB_NOT_LEASED)
        opened = {
            name: value.hex() if isinstance(value, bytes) else value
            for name, value in msgspec.structs.asdict(self.terms[job_id]).items()
        }
        box = SealedBox(PublicKey(miner.encryption_key))
        sealed = base64.b64encode(box.encrypt(json.dumps(opened).encode())).decode()
        return web.json_response(
            {
                "job": {"job_id": f"job_{job_id.hex()}", "status": "running"},
                "content": self.content[job_id],
                "lease": {
                    "miner_id": job.lease.miner,
                    "number": job.lease.number,
                    "claimed_at_ms": job.lease.claimed_at,
                    "ends_at_ms": job.lease.ends_at,
                    "heartbeat_seconds": 1,
                },
                **({"terms": opened} if self.keeps_the_key else {"terms_sealed": sealed}),
                "requirements": self.requirements,
            }
        )

    async def heartbeat(self, request: web.Request) -> web.Response:
        job_id = self.require_leased(request)
        self.heartbeats.append(await request.json())
        return web.json_response(
            {
                "status": "running",
                "cancel_requested": job_id in self.cancel_requested,
            }
        )

    async def stream(self, request: web.Request) -> web.StreamResponse:
        self.require_leased(request)
        return await self.receiver.receive(request)

    async def get_file(self, request: web.Request) -> web.Response:
        self.require_leased(request)
        data = self.files.get(request.match_info["file_id"])
        return refuse(404, "FILE_NOT_FOUND") if data is None else web.Response(body=data)

    async def store_file(self, request: web.Request) -> web.Response:
        self.require_leased(request)
        part = await (await request.multipart()).next()
        assert isinstance(part, BodyPartReader) and part.filename is not None
        data = await part.read()
        self.stored.append((part.filename, part.headers["Content-Type"], data))
        return web.json_response(
            {
                "file_id": f"file_{len(self.stored):064x}",
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            },
            status=201,
        )

    async def complete(self, request: web.Request) -> web.Response:
        body, job_id = await request.json(), get_job_id(request)
        if self.completed.get(job_id) != body:
            self.require_leased(request)
            self.apply(bytes.fromhex(body["transaction"]))
            self.completed[job_id] = body
        return web.json_response(body["receipt"])

    async def fail(self, request: web.Request) -> web.Response:
        self.require_leased(request)
        body = await request.json()
        self.require_applied(self.apply(bytes.fromhex(body["transaction"])))
        self.failures.append(body)
        return web.json_response({})

    async def get_chain_job(self, request: web.Request) -> web.Response:
        job = get_job(self.state, get_job_id(request))
        assert job is not None
        return web.json_response(
            {
                "client": crypto.format_address(job.client),
                "escrow_base": str(job.escrow),
                "job_commit": job.job_commit.hex(),
            }
        )

    def require_leased(self, request: web.Request) -> bytes:
        job_id = get_job_id(request)
        job = get_job(self.state, job_id)
        if job is None:
            raise Rejected(Rejection.JOB_UNKNOWN)
        if job.status not in (JobStatus.LEASED, JobStatus.CANCELLING):
            raise Rejected(Rejection.JOB_NOT_LEASED)
        return job_id

    def require_applied(self, transaction_id: bytes) -> None:
        code = self.outcomes[transaction_id][1].code
        if code:
            raise Rejected(next(reason for reason in Rejection if reason == code))

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[None]:
        """Listen on loopback; a test may stop and start it over on the same port."""

        @web.middleware
        async def misbehave(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._misbehave(request, handler)

        app = web.Application(middlewares=[misbehave])
        get, post = app.router.add_get, app.router.add_post
        get("/v1/chain/status", self.get_chain_status)
        get("/v1/accounts/{address}", self.get_account)
        get("/v1/transactions/{id}", self.get_transaction)
        post("/v1/transactions", self.post_transactions)
        get("/explorer/miners/{id}", self.get_miner)
        post("/v1/miners/register", self.register)
        get("/v1/jobs/available", self.get_available)
        post("/v1/jobs/{id}/claim", self.claim)
        post("/v1/jobs/{id}/heartbeat", self.heartbeat)
        post("/v1/jobs/{id}/stream", self.stream)
        get("/v1/jobs/{id}/files/{file_id}", self.get_file)
        post("/v1/jobs/{id}/files", self.store_file)
        post("/v1/jobs/{id}/complete", self.complete)
        post("/v1/jobs/{id}/fail", self.fail)
        get("/explorer/jobs/{id}", self.get_chain_job)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def _misbehave(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        name = handler.__name__
        self.asked.append(name)
        planned = self.faults.get(name)
        fault = planned.pop(0) if planned else None
        if isinstance(fault, int):
            return refuse(fault, f"HTTP_{fault}")
        if fault == "forget":
            return web.json_response({"receipt_id": "receipt_x", "job_id": "job_x"})
        try:
            answer = None if fault == "drop" else await handler(request)
        except Rejected as rejected:
            answer = refuse(409, rejected.reason.name, rejected.reason)
        if fault in ("cut", "drop") or answer is None:
            assert request.transport is not None
            request.transport.abort()
            raise ConnectionResetError
        return answer


def get_job_id(request: web.Request) -> bytes:
    return bytes.fromhex(request.match_info["id"].removeprefix("job_"))


def refuse(status: int, code: str, reason: Rejection | None = None) -> web.Response:
    document: dict[str, Any] = {"error_code": code, "detail": code}
    if reason is not None:
        document["rejection"] = int(reason)
    return web.json_response(document, status=status, content_type="application/problem+json")
