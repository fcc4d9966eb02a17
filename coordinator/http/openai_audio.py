"""`/v1/audio/transcriptions`: OpenAI's contract over a transcription job."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from coordinator import files, wire
from coordinator.http.body import too_large, unreadable
from coordinator.http.openai_jobs import begin_call
from coordinator.http.problems import Problem, invalid
from coordinator.http.routing import CLIENTS, Answer, Call, Route
from coordinator.services.registry import SERVICES
from coordinator.tables import FileRow

MAX_PARTS: Final = 32
MAX_FIELD_BYTES: Final = 16 * 1024
_CHUNK: Final = 64 * 1024
_NAME_LENGTH: Final = 200
FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt")


async def transcribe(call: Call) -> Answer | web.StreamResponse:
    row, fields = await _read_form(call)
    try:
        form = fields.get("response_format", "json")
        if form not in FORMATS:
            raise invalid("/response_format", f"is one of {', '.join(FORMATS)}")
        if fields.get("stream", "false").lower() == "true":
            raise invalid("/stream", "is not supported here")
        members = {"audio_url": wire.FILE_PREFIX + row.file_id.hex()}
        if "language" in fields:
            members["language"] = fields["language"]
        pointers = {"audio_url": "/file", "language": "/language"}
        service = SERVICES["whisper_transcription"]
        paid = await begin_call(call, service, fields.get("model"), members, pointers)
        result = await paid.wait()
    finally:
        # The sound was sent for this one call; its job is over, or never was.
        await files.discard(call.coordinator.storage, row)
    return _write(result, form, paid.headers)


async def _read_form(call: Call) -> tuple[FileRow, dict[str, str]]:
    request, settings = call.request, call.coordinator.settings
    if request.content_type != "multipart/form-data":
        raise Problem(415, "send multipart/form-data with the field `file`")
    fields: dict[str, str] = {}
    row: FileRow | None = None
    try:
        async with asyncio.timeout(settings.file_deadline):
            reader = await request.multipart()
            for _ in range(MAX_PARTS):
                part = await reader.next()
                if part is None:
                    break
                if not isinstance(part, BodyPartReader) or part.name is None:
                    continue
                if part.name == "file" and row is None:
                    name = (part.filename or "audio")[:_NAME_LENGTH]
                    kind = part.headers.get("Content-Type", "application/octet-stream")
                    row = await files.save_file(
                        call.coordinator, call.caller.account_id, name, kind[:_NAME_LENGTH],
                        _iterate(reader, part),
                    )  # fmt: skip
                else:
                    fields[part.name] = await _read_field(part)
    except TimeoutError:
        raise Problem(408, "the file did not arrive in time") from None
    except files.StorageFull:
        raise Problem(413, "your files come to too much: delete some", "STORAGE_FULL") from None
    except files.FileTooLarge:
        raise too_large(settings.maximum_file_bytes) from None
    except (web.RequestPayloadError, HttpProcessingError, ValueError, RuntimeError) as error:
        raise unreadable(error) from None
    if row is None:
        raise invalid("/file", "the field is missing")
    return row, fields


async def _read_field(part: BodyPartReader) -> str:
    data = bytearray()
    while chunk := await part.read_chunk(_CHUNK):
        data += chunk
        if len(data) > MAX_FIELD_BYTES:
            raise Problem(413, f"a field has at most {MAX_FIELD_BYTES} bytes")
    return data.decode()


async def _iterate(reader: MultipartReader, part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(_CHUNK):
        yield chunk


def _write(
    result: Mapping[str, Any], form: str, headers: Mapping[str, str]
) -> Answer | web.StreamResponse:
    text = result.get("text")
    if not isinstance(text, str):
        raise Problem(424, "the miner's result holds no text", "RESULT_UNUSABLE")
    if form == "json":
        return Answer({"text": text}, headers=headers)
    segments = read_segments(result)
    if form == "verbose_json":
        answer = {
            "task": "transcribe", "language": result.get("language"), "text": text,
            "duration": result.get("duration"),
            "segments": [{"id": index, **each} for index, each in enumerate(segments)],
        }  # fmt: skip
        return Answer(answer, headers=headers)
    lines = {"text": lambda: text + "\n", "srt": lambda: write_srt(segments)}
    body = lines.get(form, lambda: write_vtt(segments))()
    return web.Response(text=body, content_type="text/plain", headers=headers)


def read_segments(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the timed parts of a result: start and end in seconds, and a text."""
    given = result.get("segments")
    return [
        {"start": float(each["start"]), "end": float(each["end"]), "text": each["text"]}
        for each in (given if isinstance(given, list) else ())
        if isinstance(each, dict)
        and type(each.get("start")) in (int, float)
        and type(each.get("end")) in (int, float)
        and isinstance(each.get("text"), str)
    ]


def write_srt(segments: list[dict[str, Any]]) -> str:
    """Return the parts as SubRip."""
    return "\n".join(
        f"{number}\n{_clock(each['start'], ',')} --> {_clock(each['end'], ',')}\n"
        f"{each['text'].strip()}\n"
        for number, each in enumerate(segments, 1)
    )


def write_vtt(segments: list[dict[str, Any]]) -> str:
    """Return the parts as WebVTT."""
    parts = [
        f"{_clock(each['start'], '.')} --> {_clock(each['end'], '.')}\n{each['text'].strip()}\n"
        for each in segments
    ]
    return "\n".join(["WEBVTT\n", *parts])


def _clock(seconds: float, separator: str) -> str:
    whole = max(0, round(seconds * 1000))
    minutes, millis = divmod(whole, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{millis // 1000:02}{separator}{millis % 1000:03}"


ROUTES = (
    Route(
        "POST", "/v1/audio/transcriptions", transcribe, "Transcribe a recording", "OpenAI",
        roles=CLIENTS, reads_own_body=True, is_openai=True,
    ),
)  # fmt: skip
