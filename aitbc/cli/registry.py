"""`aitbc registry`: what can be asked for, in what form, and whether a request is right."""

from pathlib import Path
from typing import Annotated

import typer

from aitbc.cli.api import DEFAULT_URL, ApiUrl, open_client
from aitbc.cli.failures import CommandError, Commands
from aitbc.cli.output import AsJson, note, print_json, print_record, print_table
from aitbc.cli.requests import read_object
from node.exit_codes import ExitCode

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="The registry of services: search, schema, requirements, validate.",
)

ServiceId = Annotated[str, typer.Argument(metavar="SERVICE", help="A service's id: llm_inference")]


@app.command("search")
def search_services(
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="What to look for; default: all.")
    ] = None,
    category: Annotated[str | None, typer.Option("--category", help="Only of one.")] = None,
    api_url: ApiUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List the services that match a text."""
    with open_client(api_url, needs_key=False) as client:
        page = client.registry.list(search=text, category=category)
    rows = [service.to_dict() for service in page.items]
    columns = ("service_id", "category", "description")
    print_table("services", columns, rows, as_json=as_json)


@app.command("schema")
def show_schema(
    service_id: ServiceId, api_url: ApiUrl = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Print the JSON Schema that requests of a service are held to."""
    with open_client(api_url, needs_key=False) as client:
        print_json(client.registry.get_schema(service_id))


@app.command("requirements")
def show_requirements(
    service_id: ServiceId, api_url: ApiUrl = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Show the hardware that a service needs."""
    with open_client(api_url, needs_key=False) as client:
        print_record(client.registry.get_requirements(service_id), as_json=as_json)


@app.command("validate")
def validate_request(
    service_id: ServiceId,
    body: Annotated[Path, typer.Argument(metavar="FILE", help="The request as JSON; - is stdin.")],
    api_url: ApiUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Check a request against a service's schema; nothing is submitted, exit code 2 if wrong."""
    request = read_object(body)
    with open_client(api_url, needs_key=False) as client:
        verdict = client.registry.validate(service_id, request)
    if as_json:
        print_json(verdict.to_dict())
    for warning in () if as_json else verdict.warnings:
        note(f"warning: {warning}")
    if not verdict.valid:
        faults = "".join(f"\n  {fault}" for fault in verdict.errors)
        raise CommandError(
            f"{body} is no request for {service_id}:{faults}",
            ExitCode.USAGE,
            f"aitbc registry schema {service_id}",
        )
    note("valid")
