"""What workers of the older network's poll protocol say and expect, in this API's words.

Such a worker announces one object of whatever it found on its machine, runs text by `prompt` and
`model` alone, and hands a failure in as a result.
"""

from collections.abc import Mapping
from typing import Any, Final

from coordinator.matching import MAX_ANNOUNCED
from coordinator.services.registry import LLM_INFERENCE

TEXT_TYPE: Final = "inference"
"""What the older protocol calls text."""
MAX_MEMORY: Final = 10**7
"""Megabytes of a GPU that are believed."""


def read_capabilities(said: Mapping[str, Any]) -> tuple[list[str], list[str], dict[str, Any]]:
    """Return the services, models and GPU of an older worker's object; what is odd is left out."""
    compute = said.get("compute")
    inner = compute if isinstance(compute, dict) else {}
    names = said.get("models", inner.get("supported_models"))
    models = [name for name in names if _is_name(name)] if isinstance(names, list) else []
    return [LLM_INFERENCE], models[:MAX_ANNOUNCED], _read_gpu(said)


def _read_gpu(said: Mapping[str, Any]) -> dict[str, Any]:
    listed = said.get("gpus")
    named: list[Any] = listed if isinstance(listed, list) else [said.get("gpu")]
    gpus: list[dict[str, Any]] = [gpu for gpu in named[:MAX_ANNOUNCED] if isinstance(gpu, dict)]
    if not gpus:
        return {}
    shown: dict[str, Any] = {"count": len(gpus)}
    name = gpus[0].get("name", gpus[0].get("model"))
    if _is_name(name):
        shown["name"] = name
    for member, scale in (("memory_mb", 1), ("memory_gb", 1_024)):
        size = gpus[0].get(member)
        if not isinstance(size, int | float) or isinstance(size, bool):
            continue
        if 0 < size * scale <= MAX_MEMORY:
            shown["memory"] = f"{int(size * scale)}MiB"
    return shown


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200


def build_payload(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's content as a polling worker gets it: as it is, and text in the older words."""
    prompt = content.get("input", {}).get("prompt")
    if content.get("service") != LLM_INFERENCE or not isinstance(prompt, str):
        return {**content, "type": content.get("service")}
    return {**content, "type": TEXT_TYPE, "prompt": prompt}


def is_failure(result: Any) -> bool:
    """Tell whether a result only says that there is none."""
    return isinstance(result, dict) and result.get("status") == "failed"


def read_result(service: str, result: str | dict[str, Any]) -> str | dict[str, Any]:
    """Return a result whose text is where readers of text look for it: theirs is in `output`."""
    if service != LLM_INFERENCE or not isinstance(result, dict) or "text" in result:
        return result
    output = result.get("output")
    return {**result, "text": output} if isinstance(output, str) else result
