"""`aitbc jobs`: submit work, follow it, read its result, cancel it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from aitbc.cli.api import DEFAULT_URL, ApiKeyFile, ApiUrl, open_client
from aitbc.cli.failures import CommandError, Commands
from aitbc.cli.keys import DEFAULT_KEYSTORE, KeystoreFolder
from aitbc.cli.output import AsJson, note, print_json, print_record, print_table
from aitbc.cli.passwords import PasswordFile
from aitbc.cli.requests import read_object
from aitbc.cli.sending import SigningKey, open_wallet
from aitbc.cli.watch import stream_job, watch_jobs
from node.exit_codes import ExitCode

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="AI jobs: submit, get, list, wait, watch, stream, results, cancel.",
)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="A job's id: job_…")]
WaitSeconds = Annotated[
    float, typer.Option("--timeout", min=0, help="How many seconds to wait at most.")
]
DEFAULT_WAIT = 300.0
_SHOWN_OTHERWISE = frozenset(
    "result settlement attempts deadlines billing max_price_base escrow_base".split()
)


@app.command("submit")
def submit_job(
    text: Annotated[
        str | None,
        typer.Argument(metavar="PROMPT", help="What to ask the model; - reads it from stdin."),
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="The same, as an option.")] = None,
    body: Annotated[
        Path | None,
        typer.Option("--body", help="A JSON file with the whole request, for every other kind."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Default: the node's own.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", min=1)] = None,
    max_cost: Annotated[
        str | None,
        typer.Option("--max-cost", help="AIT to escrow, exactly; default: by price list."),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", help="The same key twice is the same job, paid once."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to the end.")] = False,
    timeout: WaitSeconds = DEFAULT_WAIT,
    key: SigningKey = None,
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    password_file: PasswordFile = None,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job: its escrow is locked on the chain before anybody runs it."""
    request = _build_request([text, prompt], body, model, max_tokens, max_cost)
    wallet = open_wallet(key, folder, password_file)
    with open_client(api_url, api_key_file, wallet=wallet) as client:
        job = client.jobs.create(request, idempotency_key=idempotency_key)
        if wait:
            note(f"submitted {job.job_id}")
            job = wait_for_end(client, job.job_id, timeout)
    print_job(job.to_dict(), as_json=as_json)
    if not wait:
        note(f"next:  aitbc jobs wait {job.job_id}")


@app.command("get")
def get_job(
    job_id: JobId,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Show one job."""
    with open_client(api_url, api_key_file) as client:
        print_job(client.jobs.get(job_id).to_dict(), as_json=as_json)


@app.command("list")
def list_jobs(
    status: Annotated[str | None, typer.Option("--status", help="Only those of a status.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000)] = 50,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """List one's own jobs, newest first."""
    with open_client(api_url, api_key_file) as client:
        page = client.jobs.list(status=status, limit=limit)
    rows = [job.to_dict() for job in page.items]
    if not as_json:
        rows = [{**row, "model": str(row.get("model")).split("@")[0]} for row in rows]
    columns = ("job_id", "status", "phase", "progress", "model", "miner_id", "created_at")
    print_table("jobs", columns, rows, as_json=as_json)
    if page.has_more:
        note(f"showing {len(rows)} of {page.total}; next: --limit {2 * limit}")


@app.command("wait")
def wait_for_job(
    job_id: JobId,
    timeout: WaitSeconds = DEFAULT_WAIT,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Wait until a job has ended; a failed or cancelled one is exit code 32, no end in time 34."""
    with open_client(api_url, api_key_file) as client:
        print_job(wait_for_end(client, job_id, timeout).to_dict(), as_json=as_json)


@app.command("results")
def get_results(
    job_id: JobId,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Print a completed job's result: the bare text where it is text."""
    with open_client(api_url, api_key_file) as client:
        results = client.jobs.get_results(job_id)
    text = find_text(results)
    if as_json or text is None:
        print_json(results)
    else:
        print(text)


@app.command("cancel")
def cancel_job(
    job_id: JobId,
    key: SigningKey = None,
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    password_file: PasswordFile = None,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Cancel a job; what its escrow still holds comes back by rule of the chain."""
    wallet = open_wallet(key, folder, password_file)
    with open_client(api_url, api_key_file, wallet=wallet) as client:
        print_job(client.jobs.cancel(job_id).to_dict(), as_json=as_json)


app.command("watch")(watch_jobs)
app.command("stream")(stream_job)


def find_text(results: object) -> str | None:
    """Return the text of a result that is text, from the answer or from its `result` member."""
    if isinstance(results, str):
        return results
    if isinstance(results, Mapping):
        text = results.get("text")
        return text if isinstance(text, str) else find_text(results.get("result"))
    return None


def _build_request(
    prompts: list[str | None],
    body: Path | None,
    model: str | None,
    max_tokens: int | None,
    max_cost: str | None,
) -> dict[str, Any]:
    if [*prompts, body].count(None) != len(prompts):
        raise CommandError(
            "give either one prompt or --body FILE", ExitCode.USAGE, "aitbc jobs submit --help"
        )
    prompt = next((each for each in prompts if each is not None), None)
    request: dict[str, Any] = {}
    if body is not None:
        request = read_object(body)
    if prompt is not None:
        request["prompt"] = sys.stdin.read() if prompt == "-" else prompt
    if model is not None:
        request["model"] = model
    if max_tokens is not None:
        request["params"] = {**request.get("params", {}), "max_tokens": max_tokens}
    if max_cost is not None:
        request["max_cost"] = max_cost
    return request


def wait_for_end(client: Any, job_id: str, timeout: float) -> Any:
    """Follow a job, saying each new phase and each attempt that failed.

    Raises `JobFailedError` and `WaitTimeoutError`.
    """
    told = 0

    def say(job: Any) -> None:
        nonlocal told
        attempts = job.attempts or []
        for attempt in attempts[told:]:
            if attempt.outcome != "settled":
                note(f"  {describe_attempt(attempt.to_dict())}")
        told = max(told, len(attempts))
        note(f"  {job.status}: {job.phase}")

    return client.jobs.wait(job_id, timeout=timeout, on_change=say)


def describe_attempt(attempt: Mapping[str, Any]) -> str:
    """Return how a claim ended, in a line."""
    reason = f": {attempt['reason']} ({attempt['reason_code']})" if attempt.get("reason") else ""
    return f"{attempt['outcome']} at {attempt['miner_id']}{reason}"


def print_job(job: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(job)
        return
    shown = {name: value for name, value in job.items() if name not in _SHOWN_OTHERWISE}
    shown.update(
        (f"attempt_{number}", describe_attempt(attempt))
        for number, attempt in enumerate(job.get("attempts") or (), 1)
    )
    settlement = job.get("settlement") or {}
    shown.update(
        (f"settlement_{name}", value)
        for name, value in settlement.items()
        if not name.endswith("_base")
    )
    if (text := find_text(job.get("result"))) is not None:
        shown["result"] = text
    print_record(shown, as_json=False)
