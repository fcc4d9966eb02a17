"""What a service is: the request it takes, how its units are counted, and what it needs.

One model is the contract of a service: the JSON Schema that the registry serves is made of it, and
every way of making a job (three shapes of body, the service's own endpoint, the OpenAI paths) is
read by it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

MAX_SOURCE: Final = 2_048
PLAIN_PATTERN: Final = r"^[ -~]+$"
"""Printable ASCII: what a receipt may hold (rule R1)."""


class Verification(StrEnum):
    """How a result can be checked later by running the job again (docs/services.md)."""

    EXACT = "exact"
    TOLERANCE = "tolerance"
    LOGIT_GAP = "logit_gap"
    NONE = "none"


class Hardware(BaseModel):
    """What a miner should have; a job may ask for more."""

    needs_gpu: bool
    min_vram_gb: float
    min_memory_gb: float
    recommended_gpu: str | None = None


class ServiceRequest(BaseModel):
    """The members of a service's request. Members that no field names are left out."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    model: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=200,
            pattern=PLAIN_PATTERN,
            description="A model's name; none: the default",
        ),
    ] = None


Content = Mapping[str, Any]
"""`{service, model, input, params}`: what the job's terms bind and the miner is given."""


@dataclass(frozen=True, slots=True)
class Service:
    """A kind of work."""

    service_id: str
    name: str
    description: str
    category: str
    tags: tuple[str, ...]
    request: type[ServiceRequest]
    params: frozenset[str]
    """Members of the request that say how; the others say with what."""
    main: str
    """The member that a bare text as `input` stands for."""
    unit_type: str
    billing: int
    verification: Verification
    hardware: Hardware
    count_most_units: Callable[[Content, int], int]
    """The most units that a content can need within so many seconds."""
    estimate_seconds: Callable[[Content, int], int]
    default_model: str | None = None
    """None: the coordinator's own default, or none at all."""
    sources: frozenset[str] = frozenset()
    """Members that name bytes: an address, or a file of the API."""
    telling: frozenset[str] = frozenset()
    """Members that no other service has: an input that holds one is meant for this."""
    brings_model: bool = False
    """The job names its model by hash and says where it lies, so that any miner can take it."""
    has_every_model: bool = False
    """Whoever runs the service runs each of its models."""
    makes_files: bool = False
    """Results are files, stored at the job's coordinator."""
    estimate_units: Callable[[Content, Any, int], int] | None = None
    """The units of a result whose miner did not count them, which took so many seconds."""

    def build_content(self, model: str, request: ServiceRequest) -> dict[str, Any]:
        """Return the content of a job. Members that were not given and have no value are absent."""
        # What a body says beside the request (its bound, its signature) is no part of the work.
        names = set(self.request.model_fields) - {"model"}
        if self.request.model_config.get("extra") == "allow":
            names |= set(request.model_extra or ())
        members = request.model_dump(mode="json", include=names, exclude_none=True)
        return {
            "service": self.service_id,
            "model": model,
            "input": {name: members[name] for name in members if name not in self.params},
            "params": {name: members[name] for name in members if name in self.params},
        }

    def build_schema(self) -> dict[str, Any]:
        """Return the JSON Schema (2020-12) of the request."""
        schema = self.request.model_json_schema()
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
        schema["$id"] = f"/v1/registry/services/{self.service_id}/schema"
        schema["title"] = self.name
        schema["description"] = self.description
        return schema


Source = Annotated[
    str,
    Field(
        max_length=MAX_SOURCE,
        pattern=r"^(https?://[!-~]+|file_[0-9a-f]{64})$",
        description="An http or https address that the miner fetches, or the id of a file",
    ),
]


def measure_text(value: Any) -> int:
    """Return a bound on the tokens of a value: no token is shorter than a byte."""
    return len(json.dumps(value, ensure_ascii=False).encode())
