"""`aitbc files`: inputs of jobs that are too large for a request, and files that jobs made."""

from pathlib import Path
from typing import Annotated

import typer

from aitbc.cli.api import DEFAULT_URL, ApiKeyFile, ApiUrl, open_client
from aitbc.cli.failures import CommandError, Commands
from aitbc.cli.output import AsJson, note, print_record, print_table
from node.exit_codes import ExitCode

app = typer.Typer(
    cls=Commands, no_args_is_help=True, help="Files of jobs: upload, list, download, delete."
)

FileId = Annotated[str, typer.Argument(metavar="FILE_ID", help="A file's id: file_…")]


@app.command("upload")
def upload_file(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What to upload.")],
    media_type: Annotated[
        str | None, typer.Option("--type", help="Its media type; default: by its name.")
    ] = None,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Upload a file; its id stands wherever a request takes an address."""
    if not path.is_file():
        raise CommandError(f"there is no file {path}", ExitCode.USAGE, "check the path")
    with open_client(api_url, api_key_file) as client:
        stored = client.files.upload(path, media_type=media_type)
    print_record(stored.to_dict(), as_json=as_json)


@app.command("list")
def list_files(
    limit: Annotated[int, typer.Option("--limit", min=1, max=100)] = 50,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """List one's own files, newest first."""
    with open_client(api_url, api_key_file) as client:
        page = client.files.list(limit=limit)
    rows = [stored.to_dict() for stored in page.items]
    columns = ("file_id", "name", "size", "sha256", "created_at")
    print_table("files", columns, rows, as_json=as_json)
    if page.has_more:
        note(f"showing {len(rows)} of {page.total}; next: --limit {min(100, 2 * limit)}")


@app.command("download")
def download_file(
    file_id: FileId,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Write a file to the disk, whole or not at all."""
    with open_client(api_url, api_key_file) as client:
        client.files.download_to(file_id, output)
    record = {"file_id": file_id, "path": str(output), "size": output.stat().st_size}
    print_record(record, as_json=as_json)


@app.command("delete")
def delete_file(
    file_id: FileId, api_url: ApiUrl = DEFAULT_URL, api_key_file: ApiKeyFile = None
) -> None:
    """Delete a file."""
    with open_client(api_url, api_key_file) as client:
        client.files.delete(file_id)
    note(f"deleted {file_id}")
