"""Which jobs a miner may be given: what it announced on the chain against what the job asks for."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from coordinator.services.models import get_model_name
from coordinator.services.registry import SERVICES

_SIZE: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,6}))?\s*([KMGT]?)(i?)(?:B)?", re.ASCII | re.I)
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_MAX_NUMBER: Final = 2**63
MAX_ANNOUNCED: Final = 256
"""Capabilities, models or prices that are read of one miner."""


class Requirements(msgspec.Struct, frozen=True):
    """What a job asks of a miner's hardware. Memory in bytes."""

    gpu_type: str | None = None
    gpu_count: int = 0
    gpu_memory: int = 0


class Announcement(msgspec.Struct, frozen=True):
    """What a miner announced: services or models, pins, hardware, base units per unit."""

    capabilities: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    gpu_name: str = ""
    gpu_memory: int = 0
    gpu_count: int = 0
    prices: Mapping[str, int] = {}


def parse_memory(text: str) -> int:
    """Return the bytes of `24GB`, `16 GiB`, `4Gi` or a plain number. Raises `ValueError`."""
    match = _SIZE.fullmatch(text.strip()) if len(text) <= 24 else None
    if match is None:
        raise ValueError("a size is a number with a unit, such as 24GB or 4Gi")
    whole, places, unit, is_binary = match.groups()
    scale: int = (1024 if is_binary else 1000) ** _POWERS[unit.upper()]
    fraction = int(places) * scale // 10 ** len(places) if places else 0
    return int(whole) * scale + fraction


def read_announcement(metadata: bytes) -> Announcement:
    """Return what a miner's metadata on the chain says; the parts that make no sense are left out.

    Anybody may have written it, so nothing in it can raise.
    """
    try:
        document = json.loads(metadata)
        # A lone surrogate cannot be sent to anybody who asks for the miner.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return Announcement()
    if not isinstance(document, dict):
        return Announcement()
    gpu = document.get("gpu_info")
    gpu = gpu if isinstance(gpu, dict) else {}
    prices = document.get("prices")
    prices = prices if isinstance(prices, dict) else {}
    name, count = gpu.get("name"), gpu.get("count")
    return Announcement(
        capabilities=_read_texts(document.get("capabilities")),
        models=_read_texts(document.get("models")),
        gpu_name=name if isinstance(name, str) else "",
        gpu_memory=_read_memory(gpu.get("memory")),
        gpu_count=count if type(count) is int and 0 < count < _MAX_NUMBER else int(bool(gpu)),
        prices={
            service: price
            for service, price in list(prices.items())[:MAX_ANNOUNCED]
            if type(price) is int and 0 < price < _MAX_NUMBER
        },
    )


def find_mismatch(
    announcement: Announcement,
    service: str,
    model: str,
    max_price: int,
    requirements: Requirements,
) -> str | None:
    """Return why a miner does not get a job, or None when it may have it."""
    name = get_model_name(model)
    if not {service, model, name} & {*announcement.capabilities, *announcement.models}:
        return "neither the service nor the model is among its capabilities"
    if announcement.models and not (
        _is_at_all(service) or _holds_model(announcement.models, model)
    ):
        return "it does not hold the model"
    if announcement.prices.get(service, 1) > max_price:
        return "its price is over the job's"
    if requirements.gpu_count > announcement.gpu_count:
        return "it has too few GPUs"
    if requirements.gpu_memory > announcement.gpu_memory:
        return "its GPUs have too little memory"
    wanted = requirements.gpu_type
    if wanted is not None and wanted.casefold() not in announcement.gpu_name.casefold():
        return "it has another GPU"
    return None


def _is_at_all(service: str) -> bool:
    """A model that comes with the job, or with the service, is held by whoever runs that."""
    found = SERVICES.get(service)
    return found is not None and (found.brings_model or found.has_every_model)


def _holds_model(models: Sequence[str], model: str) -> bool:
    """A pinned model must be announced with its pin, or by its bare name; never with another."""
    return model in models or get_model_name(model) in models


def _read_texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(text for text in value[:MAX_ANNOUNCED] if isinstance(text, str))


def _read_memory(value: Any) -> int:
    if type(value) is int:
        return min(max(0, value), _MAX_NUMBER)
    try:
        return parse_memory(value) if isinstance(value, str) else 0
    except ValueError:
        return 0
