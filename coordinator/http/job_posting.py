"""How a body becomes a job, by whichever route: read, its files found, priced, submitted."""

from coordinator import job_files, submission, wallets, wire
from coordinator.files import read_text_file
from coordinator.http.job_models import Job, JobOptions, JobRequest
from coordinator.http.job_requests import Asked, build_draft, is_first_shape, read_job
from coordinator.http.job_views import view_job
from coordinator.http.problems import Problem, invalid
from coordinator.http.routing import Answer, Call
from coordinator.job_rows import JobRecord
from coordinator.services.registry import LLM_INFERENCE
from ledger import terms
from ledger.terms import Terms
from ledger.transactions import VerifiedTransaction


async def post_job(call: Call) -> Answer:
    request = call.get_body(JobRequest)
    settings = call.coordinator.settings
    asked = await call.compute(read_job, request, settings)
    if isinstance(request.input, str) and request.input.startswith(wire.FILE_PREFIX):
        request = await _read_prompt(call, request, asked)
        asked = await call.compute(read_job, request, settings)
    record = await submit_job(call, asked, request)
    return answer_job(call, record, is_first_shape(request))


async def submit_job(call: Call, asked: Asked, options: JobOptions) -> JobRecord:
    """Submit what a body asked and return the job. Raises `Problem` and `Rejected`."""
    coordinator = call.coordinator
    files, missing = await job_files.find_sources(coordinator, call.caller, asked.sources)
    if missing is not None:
        raise invalid(f"/{missing}", "there is no such file of yours")
    draft = await call.compute(build_draft, asked, files, coordinator.settings)
    signed, opening = _read_signed(call, options)
    try:
        return await submission.create_job(
            coordinator, call.caller, draft, call.idempotency_key, signed, opening
        )
    except submission.SignatureNeeded as needed:
        raise Problem(
            422,
            "this account signs by itself: send `transaction` and `terms`",
            "SIGNATURE_NEEDED",
            members={
                "payload": submission.encode_payload(needed.payload),
                "terms": terms.write_opening(needed.opening),
                "content": needed.content,
            },
        ) from None
    except submission.BadSubmission as error:
        raise invalid("/transaction", str(error)) from None


def answer_job(call: Call, record: JobRecord, is_first_shape: bool = False) -> Answer:
    """Return the answer that tells of a new job."""
    job: Job = view_job(call.coordinator, record, True, is_first_shape)
    return Answer(job, 201, {"Location": f"/v1/jobs/{job.job_id}"})


async def _read_prompt(call: Call, request: JobRequest, asked: Asked) -> JobRequest:
    """Return the request with the text of the file that stands for its prompt."""
    if asked.service.service_id != LLM_INFERENCE:
        return request
    assert isinstance(request.input, str)
    text = await read_text_file(call.coordinator, call.caller, request.input)
    if text is None:
        raise invalid("/input", "there is no such file of UTF-8 text")
    return request.model_copy(update={"input": text})


def _read_signed(
    call: Call, options: JobOptions
) -> tuple[VerifiedTransaction | None, Terms | None]:
    if options.transaction is None:
        return None, None
    if call.caller.is_custodial:
        raise invalid("/transaction", "the node signs for this account: leave it out")
    if options.terms is None:
        raise invalid("/terms", "the opening of the transaction's job_commit is needed")
    try:
        opening = terms.read_opening(options.terms, Terms)
    except ValueError as error:
        raise invalid("/terms", f"not an opening: {error}") from None
    signed = wallets.decode_signed(options.transaction, call.coordinator.chain.chain_id)
    return signed, opening
