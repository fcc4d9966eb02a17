"""The file routes: upload in pieces, download with ranges, delete."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from coordinator import files, wire
from coordinator.http import ranges
from coordinator.http.body import too_large, unreadable
from coordinator.http.job_models import Shown
from coordinator.http.problems import Problem, not_found
from coordinator.http.routing import ANY_ROLE, Answer, Bucket, Call, Route
from coordinator.tables import FileRow

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


async def upload(call: Call) -> Answer:
    request, settings = call.request, call.coordinator.settings
    if request.content_length is not None and (
        request.content_length > settings.maximum_file_bytes + 2**20
    ):
        raise too_large(settings.maximum_file_bytes)
    if request.content_type != "multipart/form-data":
        raise Problem(415, "send multipart/form-data with the field `file`")
    try:
        async with asyncio.timeout(settings.file_deadline):
            row = await _save(call)
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
    shown = _view(row)
    return Answer(shown, 201, {"Location": f"/v1/files/{shown.file_id}"})


async def _save(call: Call) -> FileRow:
    reader = await call.request.multipart()
    for _ in range(MAX_FORM_PARTS):
        part = await reader.next()
        if part is None:
            break
        if isinstance(part, BodyPartReader) and part.name == "file":
            name = (part.filename or "file")[:_NAME_LENGTH]
            kind = part.headers.get("Content-Type", "application/octet-stream")[:_NAME_LENGTH]
            return await files.save_file(
                call.coordinator, call.caller, name, kind, _iterate(reader, part)
            )
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
    await call.coordinator.storage.write(lambda connection: files.delete_rows(connection, row))
    return Answer(None, 204)


def _view(row: FileRow) -> FileShown:
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
        "GET", "/v1/files/{file_id}", download, "Download a file", "Files",
        roles=ANY_ROLE, bucket=Bucket.POLLING, content_type="application/octet-stream",
    ),
    Route(
        "DELETE", "/v1/files/{file_id}", delete, "Delete a file", "Files",
        roles=ANY_ROLE, answers={204: None}, works_behind=True,
    ),
)  # fmt: skip
