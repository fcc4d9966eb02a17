"""The services' own endpoints: each body is its service's request, and makes an ordinary job."""

from coordinator.http.job_models import Job, JobOptions
from coordinator.http.job_posting import answer_job, submit_job
from coordinator.http.job_requests import check_source, read_service_job
from coordinator.http.routing import CLIENTS, Answer, Call, Handler, Route
from coordinator.services.blender_rendering import RenderRequest
from coordinator.services.definition import Service, ServiceRequest
from coordinator.services.llm_inference import TextRequest
from coordinator.services.registry import SERVICES
from coordinator.services.stable_diffusion import ImageRequest
from coordinator.services.video_transcoding import VideoRequest
from coordinator.services.whisper_transcription import SpeechRequest


class TranscribeJob(SpeechRequest, JobOptions):
    """A recording to be written down."""


class GenerateJob(ImageRequest, JobOptions):
    """A picture to be drawn."""


class InferenceJob(TextRequest, JobOptions):
    """A text to be continued."""


class TranscodeJob(VideoRequest, JobOptions):
    """A video to be written anew."""


class RenderJob(RenderRequest, JobOptions):
    """A scene to be rendered."""


def _build_handler(service: Service) -> Handler:
    async def post(call: Call) -> Answer:
        body = call.body
        assert isinstance(body, ServiceRequest) and isinstance(body, JobOptions)
        for name in sorted(service.sources):
            check_source(f"/{name}", getattr(body, name))
        asked = await call.compute(read_service_job, service, body, body, call.coordinator.settings)
        return answer_job(call, await submit_job(call, asked, body))

    return post


def _build_route(path: str, service_id: str, body: type[ServiceRequest], summary: str) -> Route:
    return Route(
        "POST", f"/v1/services/{path}", _build_handler(SERVICES[service_id]), summary, "Services",
        roles=CLIENTS, body=body, answers={201: Job},
    )  # fmt: skip


ROUTES = (
    _build_route(
        "whisper/transcribe", "whisper_transcription", TranscribeJob, "Transcribe a recording"
    ),
    _build_route("stable-diffusion/generate", "stable_diffusion", GenerateJob, "Generate images"),
    _build_route("llm/inference", "llm_inference", InferenceJob, "Generate text"),
    _build_route("ffmpeg/transcode", "video_transcoding", TranscodeJob, "Transcode a video"),
    _build_route("blender/render", "blender_rendering", RenderJob, "Render a scene"),
)
