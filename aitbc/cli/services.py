"""`aitbc services`: have any service of the registry done, as an ordinary escrowed job."""

from pathlib import Path
from typing import Annotated, Any

import typer

from aitbc.cli.api import DEFAULT_URL, ApiKeyFile, ApiUrl, open_client
from aitbc.cli.failures import CommandError, Commands
from aitbc.cli.jobs import DEFAULT_WAIT, WaitSeconds, print_job, wait_for_end
from aitbc.cli.keys import DEFAULT_KEYSTORE, KeystoreFolder
from aitbc.cli.output import AsJson, note, print_record, print_table
from aitbc.cli.passwords import PasswordFile
from aitbc.cli.registry import ServiceId
from aitbc.cli.requests import read_members, read_object
from aitbc.cli.sending import SigningKey, open_wallet
from node.exit_codes import ExitCode

app = typer.Typer(
    cls=Commands, no_args_is_help=True, help="Services that miners do: list, show, run."
)


@app.command("list")
def list_services(api_url: ApiUrl = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the services."""
    with open_client(api_url, needs_key=False) as client:
        rows = [service.to_dict() for service in client.registry.list().items]
    columns = ("service_id", "name", "category", "unit_type", "default_model", "miners")
    print_table("services", columns, rows, as_json=as_json)


@app.command("show")
def show_service(
    service_id: ServiceId, api_url: ApiUrl = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Show a service: what it does, its unit, its requirements."""
    with open_client(api_url, needs_key=False) as client:
        print_record(client.registry.get(service_id).to_dict(), as_json=as_json)


@app.command("run")
def run_service(
    service_id: ServiceId,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="NAME=VALUE", help="Data, like prompt=Hello"),
    ] = None,
    params: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A knob, like max_tokens=16"),
    ] = None,
    body: Annotated[
        Path | None, typer.Option("--body", help="The request as a JSON file; - is stdin.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Default: the node's own.")] = None,
    max_cost: Annotated[
        str | None, typer.Option("--max-cost", help="AIT to escrow, exactly; default: price list.")
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
    """Submit a job of a service, from flags or a JSON file."""
    request: dict[str, Any] = {} if body is None else read_object(body)
    for member, given in (("input", inputs), ("params", params)):
        if given:
            kept = request.get(member, {})
            if not isinstance(kept, dict):
                raise CommandError(
                    f"{body} has another {member}", ExitCode.USAGE, f"correct {body}"
                )
            request[member] = {**kept, **read_members(given, f"--{member.removesuffix('s')}")}
    named = {"model": model, "max_cost": max_cost}
    request.update({name: value for name, value in named.items() if value is not None})
    wallet = open_wallet(key, folder, password_file)
    with open_client(api_url, api_key_file, wallet=wallet) as client:
        job = client.jobs.create({**request, "type": service_id})
        if wait:
            note(f"submitted {job.job_id}")
            job = wait_for_end(client, job.job_id, timeout)
    print_job(job.to_dict(), as_json=as_json)
    if not wait:
        note(f"next:  aitbc jobs wait {job.job_id}")
