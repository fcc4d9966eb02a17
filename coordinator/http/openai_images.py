"""`/v1/images/generations`: OpenAI's contract over an image job."""

from typing import Annotated, Any

from pydantic import Field

from coordinator.http.job_models import Shown, Strict
from coordinator.http.openai_jobs import begin_call, refuse_unsupported
from coordinator.http.problems import Problem
from coordinator.http.routing import CLIENTS, Answer, Call, Route
from coordinator.services.registry import SERVICES

_MEANINGLESS: dict[str, tuple[Any, ...]] = {
    "response_format": ("b64_json",),
    "quality": ("auto", "standard"),
    "background": ("auto", "opaque"),
    "output_format": ("png",),
    "output_compression": (),
    "style": (),
    "stream": (False,),
}


class ImagesRequest(Strict):
    """Pictures come as PNG in base64. `steps`, `seed` and `negative_prompt` are ours."""

    model: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    prompt: Annotated[str, Field(max_length=4_000)]
    n: Annotated[int, Field(ge=1, le=10)] | None = None
    size: Annotated[str, Field(max_length=20)] | None = None
    steps: Annotated[int, Field(ge=1, le=150)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    negative_prompt: Annotated[str, Field(max_length=4_000)] | None = None


class ImagesAnswer(Shown):
    created: int
    data: list[dict[str, Any]]


async def generate(call: Call) -> Answer:
    body = call.get_body(ImagesRequest)
    refuse_unsupported(body.model_extra, _MEANINGLESS)
    size = None if body.size == "auto" else body.size
    given = {
        "prompt": body.prompt, "num_images": body.n, "size": size, "steps": body.steps,
        "seed": body.seed, "negative_prompt": body.negative_prompt,
    }  # fmt: skip
    members = {name: value for name, value in given.items() if value is not None}
    pointers = {name: f"/{name}" for name in members} | {"num_images": "/n"}
    paid = await begin_call(call, SERVICES["stable_diffusion"], body.model, members, pointers)
    result = await paid.wait()
    images = result.get("images")
    if not isinstance(images, list) or not all(
        isinstance(image, dict) and isinstance(image.get("b64_json"), str) for image in images
    ):
        raise Problem(424, "the miner's result holds no pictures", "RESULT_UNUSABLE")
    return Answer(
        {
            "created": paid.record.job.created_ms // 1000,
            "data": [{"b64_json": image["b64_json"]} for image in images],
        },
        headers=paid.headers,
    )


ROUTES = (
    Route(
        "POST", "/v1/images/generations", generate, "Generate images", "OpenAI",
        roles=CLIENTS, body=ImagesRequest, answers={200: ImagesAnswer}, is_openai=True,
    ),
)  # fmt: skip
