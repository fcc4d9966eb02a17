"""Foreign code in a sandbox, at miners that opt in; each second of run time is billed.

The model is what runs it, `python` or `wasm`. The code comes with the job, and what is not named
here is its input: every other member is passed on as it is.
"""

from typing import Annotated, Final

from pydantic import ConfigDict, Field

from coordinator.services.definition import (
    PLAIN_PATTERN,
    Content,
    Hardware,
    Service,
    ServiceRequest,
    Source,
    Verification,
)
from zk.statement import PER_SECOND

PYTHON: Final = "python"
WASM: Final = "wasm"
RUNTIMES: Final = frozenset({PYTHON, WASM})
MAX_SOURCE_CHARACTERS: Final = 262_144
MAX_FUEL: Final = 10**15


class CodeRequest(ServiceRequest):
    """The code, what it needs installed, and where it begins."""

    model_config = ConfigDict(extra="allow")

    entrypoint: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=200,
            pattern=PLAIN_PATTERN,
            description="Python: the file to run (`main.py`); WebAssembly: the function (`_start`)",
        ),
    ] = None
    requirements: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]],
        Field(max_length=64, description="Packages that the miner must have; nothing is installed"),
    ] = []
    source: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_SOURCE_CHARACTERS,
            description="The code itself: Python, or WebAssembly in its text format",
        ),
    ] = None
    source_url: Annotated[
        Source | None, Field(description="In place of `source`: a .py, .zip or .wasm file")
    ] = None
    fuel: Annotated[
        int | None,
        Field(ge=1, le=MAX_FUEL, description="WebAssembly: about as many instructions at most"),
    ] = None


CODE_MEMBERS: Final = frozenset(CodeRequest.model_fields) - {"model"}
"""What says which code is run; the other members are its input."""


def _count_most_units(content: Content, seconds: int) -> int:
    return seconds


def _estimate_seconds(content: Content, seconds: int) -> int:
    return 600


SERVICE: Final = Service(
    service_id="custom_code",
    name="Custom code",
    description="Runs code of the client's own in a sandbox without a network.",
    category="general",
    tags=("python", "wasm", "code", "sandbox"),
    request=CodeRequest,
    params=CODE_MEMBERS - {"source_url"},
    main="source",
    unit_type="second",
    billing=PER_SECOND,
    verification=Verification.NONE,
    hardware=Hardware(needs_gpu=False, min_vram_gb=0, min_memory_gb=2),
    count_most_units=_count_most_units,
    estimate_seconds=_estimate_seconds,
    default_model=PYTHON,
    has_every_model=True,
    sources=frozenset({"source_url"}),
    makes_files=True,
)
