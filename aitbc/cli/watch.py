"""`aitbc jobs watch`, `aitbc jobs stream` and `aitbc blocks watch`: what happens, as it happens."""

import sys
from typing import Annotated, Any

import typer

from aitbc.cli.api import DEFAULT_URL, ApiKeyFile, ApiUrl, open_client
from aitbc.cli.failures import Commands
from aitbc.cli.output import note, print_line

blocks = typer.Typer(cls=Commands, no_args_is_help=True, help="Final blocks as they come: watch.")

AsJsonLines = Annotated[bool, typer.Option("--json", help="Print a JSON document on each line.")]
Since = Annotated[
    int | None, typer.Option("--since", min=0, help="First all that came after this number.")
]
_ENDED = ("completed", "failed", "cancelled")


def watch_jobs(
    job_id: Annotated[
        str | None, typer.Argument(metavar="JOB", help="Until this one ends; default: all.")
    ] = None,
    since: Since = None,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJsonLines = False,
) -> None:
    """Show each change of one's own jobs as it happens; of one job, until it ends."""
    with open_client(api_url, api_key_file) as client:
        if job_id is None:
            for update in client.live.updates(types=["job_update"], since=since):
                _print_update(update, as_json)
            return
        job = client.jobs.get(job_id)
        if job.is_over:
            note(f"{job_id} is {job.status}")
            return
        # From its beginning: what happens between the look above and the subscription is not lost.
        for update in client.live.updates(types=["job_update"], job_ids=[job_id], since=since or 0):
            _print_update(update, as_json)
            if update.data.get("status") in _ENDED:
                return


def stream_job(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="A job's id: job_…")],
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJsonLines = False,
) -> None:
    """Print a job's text as it comes."""
    with open_client(api_url, api_key_file) as client:
        for event in client.jobs.stream(job_id):
            if as_json:
                print_line(event.to_dict())
            elif event.delta:
                print(event.delta, end="", flush=True)
            elif event.event == "reset":
                print(flush=True)
                note("the text begins anew: what came before is void")
            elif event.event == "done":
                print(flush=True)
                note(f"{job_id} is {event.data.get('status')}")


@blocks.command("watch")
def watch_blocks(
    api_url: ApiUrl = DEFAULT_URL, api_key_file: ApiKeyFile = None, as_json: AsJsonLines = False
) -> None:
    """Show each final block as it comes."""
    with open_client(api_url, api_key_file) as client:
        for update in client.live.updates(types=["block_created"]):
            _print_update(update, as_json)


def _print_update(update: Any, as_json: bool) -> None:
    if as_json:
        print_line(update.to_dict())
        return
    members = "  ".join(
        f"{name}={value}" for name, value in update.data.items() if value not in (None, {}, [])
    )
    print(f"{update.type}  {members}", flush=True, file=sys.stdout)
