"""How the calls about files are written: inputs of jobs, and what jobs made."""

import mimetypes
from pathlib import Path

from aitbc.calls.common import as_is, as_none, choose_key, get_page, quote
from aitbc.market_models import StoredFile
from aitbc.models import Page
from aitbc.steps import Call, Upload


def upload_file(
    source: str | Path | bytes,
    *,
    name: str | None = None,
    media_type: str | None = None,
    idempotency_key: str | None = None,
) -> Call[StoredFile]:
    """Upload a file, read from the disk while it is sent, or bytes; its `file_id` is an input."""
    if not isinstance(source, bytes):
        source = Path(source)
        name = name or source.name
    guessed = mimetypes.guess_type(name or "")[0] or "application/octet-stream"
    return Call(
        "POST",
        "/v1/files",
        StoredFile.model_validate,
        upload=Upload(source, name or "file", media_type or guessed),
        idempotency_key=choose_key(idempotency_key),
        is_repeatable=True,
    )


def list_files(*, limit: int = 50, cursor: str | None = None) -> Call[Page[StoredFile]]:
    """Return a page of one's own files, newest first."""
    return get_page("/v1/files", {"limit": limit, "cursor": cursor}, "files", StoredFile)


def download_file(file_id: str) -> Call[bytes]:
    """Return a file's bytes."""
    return Call("GET", _get_path(file_id), as_is, is_repeatable=True, is_binary=True)


def download_file_to(file_id: str, path: str | Path) -> Call[Path]:
    """Write a file to the disk, whatever its size; return its path."""
    return Call(
        "GET", _get_path(file_id), as_is, is_repeatable=True, is_binary=True, target=Path(path)
    )


def delete_file(file_id: str) -> Call[None]:
    """Delete a file."""
    return Call("DELETE", _get_path(file_id), as_none, is_repeatable=True)


def _get_path(file_id: str) -> str:
    return f"/v1/files/{quote(file_id)}"
