"""How the services' calls are written: each makes an ordinary escrowed job.

Where a source is asked for, an `https://` address and the `file_…` id of an upload are the same.
What is left out is chosen by the coordinator; `members` go into the body as they are.
"""

from typing import Any

from aitbc.calls.common import JSON, choose_key, drop_nulls, get, get_page, get_value, post, quote
from aitbc.market_models import Service, Validation
from aitbc.models import Job, Page
from aitbc.steps import Call


def infer(
    prompt: str,
    *,
    model: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    max_cost: str | None = None,
    idempotency_key: str | None = None,
    **members: Any,
) -> Call[Job]:
    """Have a language model go on from a prompt."""
    body = {
        "prompt": prompt,
        "model": model,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "max_cost": max_cost,
    }
    return _post("llm/inference", body, members, idempotency_key)


def transcribe(
    audio_url: str,
    *,
    model: str | None = None,
    language: str | None = None,
    task: str | None = None,
    max_cost: str | None = None,
    idempotency_key: str | None = None,
    **members: Any,
) -> Call[Job]:
    """Have speech written down; `task` is `transcribe` or `translate`."""
    body = {
        "audio_url": audio_url,
        "model": model,
        "language": language,
        "task": task,
        "max_cost": max_cost,
    }
    return _post("whisper/transcribe", body, members, idempotency_key)


def generate_image(
    prompt: str,
    *,
    model: str | None = None,
    size: str | None = None,
    num_images: int | None = None,
    steps: int | None = None,
    max_cost: str | None = None,
    idempotency_key: str | None = None,
    **members: Any,
) -> Call[Job]:
    """Have pictures made of a description; `size` is like "512x512"."""
    body = {
        "prompt": prompt,
        "model": model,
        "size": size,
        "num_images": num_images,
        "steps": steps,
        "max_cost": max_cost,
    }
    return _post("stable-diffusion/generate", body, members, idempotency_key)


def transcode(
    input_url: str,
    *,
    output_format: str | None = None,
    codec: str | None = None,
    resolution: str | None = None,
    max_cost: str | None = None,
    idempotency_key: str | None = None,
    **members: Any,
) -> Call[Job]:
    """Have a video written in another format."""
    body = {
        "input_url": input_url,
        "output_format": output_format,
        "codec": codec,
        "resolution": resolution,
        "max_cost": max_cost,
    }
    return _post("ffmpeg/transcode", body, members, idempotency_key)


def render(
    blend_file_url: str,
    *,
    engine: str | None = None,
    resolution_x: int | None = None,
    resolution_y: int | None = None,
    samples: int | None = None,
    max_cost: str | None = None,
    idempotency_key: str | None = None,
    **members: Any,
) -> Call[Job]:
    """Have a Blender scene rendered."""
    body = {
        "blend_file_url": blend_file_url,
        "engine": engine,
        "resolution_x": resolution_x,
        "resolution_y": resolution_y,
        "samples": samples,
        "max_cost": max_cost,
    }
    return _post("blender/render", body, members, idempotency_key)


def list_services(*, category: str | None = None, search: str | None = None) -> Call[Page[Service]]:
    """Return what the registry knows how to have done, on one page."""
    query = {"category": category, "search": search}
    return get_page("/v1/registry/services", query, "services", Service)


def get_service(service_id: str) -> Call[Service]:
    """Return a service of the registry."""
    return get(f"/v1/registry/services/{quote(service_id)}", Service)


def get_service_schema(service_id: str) -> Call[Any]:
    """Return the JSON Schema that a service's requests are held to."""
    return get_value(f"/v1/registry/services/{quote(service_id)}/schema")


def get_service_requirements(service_id: str) -> Call[Any]:
    """Return the hardware that a service needs."""
    return get_value(f"/v1/registry/services/{quote(service_id)}/requirements")


def validate_request(service_id: str, request_data: JSON) -> Call[Validation]:
    """Check a request against a service's schema; nothing is submitted."""
    body = {"service_id": service_id, "request_data": dict(request_data)}
    return post("/v1/registry/services/validate", body, Validation, is_repeatable=True)


def _post(name: str, body: JSON, members: JSON, idempotency_key: str | None) -> Call[Job]:
    whole = {**drop_nulls(body), **members}
    return post(f"/v1/services/{name}", whole, Job, choose_key(idempotency_key))
