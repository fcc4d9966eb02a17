"""The file routes: upload in pieces, download with ranges, delete."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final

import sqlalchemy as sa
from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from sqlalchemy import Connection

from coordinator import files, job_files, sql, wire
from coordinator.http import ranges
from coordinator.http.body import too_large, unreadable
from coordinator.http.job_models import PageQuery, Shown
from coordinator.http.listing import build_page
from coordinator.http.problems import Problem, not_found
from coordinator.http.routing import ANY_ROLE, Answer, Bucket, Call, Route
from coordinator.tables import FileRow

FILES: Final = sql.get_table(FileRow)
MAX_FORM_PARTS: Final = 16
_CHUNK: Final = 64 * 1024
_NAME_LENGTH: Final = 200


class FileShown(Shown):
    file_id: str
    name: str
    content_type: str
    size: int
    sha256: str
    created_at: str


class FileList(Shown):
    files: list[FileShown]
    total: int
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None


Save = Callable[[str, str, AsyncIterator[bytes]], Awaitable[FileRow]]
"""Stores a file of a name and a media type from its pieces."""


async def upload(call: Call) -> Answer:
    async def save(name: str, kind: str, chunks: AsyncIterator[bytes]) -> FileRow:
        return await files.save_file(call.coordinator, call.caller.account_id, name, kind, chunks)

    shown = view_file(await take_upload(call, save))
    return Answer(shown, 201, {"Location": f"/v1/files/{shown.file_id}"})


async def take_upload(call: Call, save: Save) -> FileRow:
    """Store the field `file` of a form. Raises `Problem` (400, 408, 413, 415, 422)."""
    request, settings = call.request, call.coordinator.settings
    if request.content_length is not None and (
        request.content_length > settings.maximum_file_bytes + 2**20
    ):
        raise too_large(settings.maximum_file_bytes)
    if request.content_type != "multipart/form-data":
        raise Problem(415, "send multipart/form-data with the field `file`")
    try:
        async with asyncio.timeout(settings.file_deadline):
            return await _save(call, save)
    except TimeoutError:
        raise Problem(
            408, f"the file did not arrive within {settings.file_deadline:g} s",
            headers={"Connection": "close"},
        ) from None  # fmt: skip
    except files.StorageFull:
        raise Problem(
            413,
            f"your files come to over {settings.maximum_stored_bytes} bytes: delete some",
            "STORAGE_FULL",
            headers={"Connection": "close"},
        ) from None
    except files.FileTooLarge:
        raise too_large(settings.maximum_file_bytes) from None
    except (web.RequestPayloadError, HttpProcessingError, ValueError, RuntimeError) as error:
        raise unreadable(error) from None


async def _save(call: Call, save: Save) -> FileRow:
    reader = await call.request.multipart()
    for _ in range(MAX_FORM_PARTS):
        part = await reader.next()
        if part is None:
            break
        if isinstance(part, BodyPartReader) and part.name == "file":
            name = (part.filename or "file")[:_NAME_LENGTH]
            kind = part.headers.get("Content-Type", "application/octet-stream")[:_NAME_LENGTH]
            return await save(name, kind, _iterate(reader, part))
    raise Problem(422, "the form has no field `file`", errors=[
        {"pointer": "/file", "message": "the field is missing"}
    ])  # fmt: skip


async def _iterate(reader: MultipartReader, part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(_CHUNK):
        yield chunk
    # Only the boundary behind it tells a whole file from one that was cut off.
    await reader.next()


async def download(call: Call) -> web.StreamResponse:
    row = await files.find_file(call.coordinator, call.caller, call.path["file_id"])
    if row is None:
        raise not_found("file")
    return await send_file(call, row)


async def send_file(call: Call, row: FileRow) -> web.StreamResponse:
    """Answer with a file's bytes, the part asked for, or 304."""
    tag = row.sha256.hex()
    headers = {
        **ranges.build_headers(tag, row.name),
        # Whatever was uploaded, a browser must not run it from here.
        "Content-Type": "application/octet-stream",
        "X-Content-Type-Options": "nosniff",
    }
    if ranges.is_unchanged(call.request, tag):
        return web.Response(status=304, headers=headers)
    span = ranges.parse_range(call.request.headers.get("Range"), row.size)
    start, end = span or (0, row.size)
    if span is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{row.size}"
    headers["Content-Length"] = str(end - start)
    response = web.StreamResponse(status=200 if span is None else 206, headers=headers)
    await response.prepare(call.request)
    if call.request.method != "HEAD":
        async for piece in files.iterate_bytes(call.coordinator, row, start, end):
            await response.write(piece)
    await response.write_eof()
    return response


async def delete(call: Call) -> Answer:
    row = await files.find_file(call.coordinator, call.caller, call.path["file_id"])
    if row is None:
        raise not_found("file")

    storage = call.coordinator.storage
    if not await storage.write(partial(job_files.hide_unused, row=row)):
        raise Problem(409, "a job that has not ended names this file", "FILE_IN_USE")
    await files.erase(storage, row)
    return Answer(None, 204)


async def list_files(call: Call) -> Answer:
    query = call.get_query(PageQuery)
    own = files.match_own(call.caller.account_id)

    def read(connection: Connection) -> tuple[list[FileRow], int]:
        count = sa.select(sa.func.count()).select_from(FILES).where(*own)
        statement = FILES.select().where(*own).order_by(FILES.c.row_id.desc())
        if query.cursor is not None:
            statement = statement.where(FILES.c.row_id < int(query.cursor))
        page = statement.limit(query.limit + 1).offset(query.offset)
        return sql.load(connection, FileRow, page), connection.execute(count).scalar_one()

    rows, total = await call.coordinator.storage.read(read)
    shown = rows[: query.limit]
    items = [view_file(row) for row in shown]
    last = shown[-1].row_id if shown else None
    return Answer(build_page("files", items, total, query, last, len(rows) - len(shown)))


def view_file(row: FileRow) -> FileShown:
    return FileShown(
        file_id=wire.FILE_PREFIX + row.file_id.hex(),
        name=row.name,
        content_type=row.content_type,
        size=row.size,
        sha256=row.sha256.hex(),
        created_at=wire.format_time(row.created_ms),
    )


ROUTES = (
    Route(
        "POST", "/v1/files", upload, "Upload a file", "Files",
        roles=ANY_ROLE, answers={201: FileShown}, reads_own_body=True, works_behind=True,
    ),
    Route(
        "GET", "/v1/files", list_files, "List one's own files", "Files",
        roles=ANY_ROLE, query=PageQuery, answers={200: FileList}, bucket=Bucket.POLLING,
    ),
    Route(
        "GET", "/v1/files/{file_id}", download, "Download a file", "Files",
        roles=ANY_ROLE, bucket=Bucket.POLLING, content_type="application/octet-stream",
    ),
    Route(
        "DELETE", "/v1/files/{file_id}", delete, "Delete a file", "Files",
        roles=ANY_ROLE, answers={204: None}, works_behind=True,
    ),
)  # fmt: skip
