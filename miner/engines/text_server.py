"""The text engine's own process: llama.cpp's HTTP server, on loopback, for one model.

A process of its own, so that a crash of native code costs one job and not the miner. It reads one
JSON object of settings from standard input, the API key among them since arguments are visible to
every user of the machine, answers with one that holds its address, and ends when its input does.
"""

import json
import os
import sys
from typing import Any, Final

import xllamacpp

from miner.child import die_with_parent
from miner.gpu.backends import choose_backend
from miner.gpu.device import CUDA, DeviceMissingError

ALL_LAYERS: Final = 999
"""More than any model has: none is left to the CPU, and a GPU that is too small is an error."""


def choose_layers(wanted: str, asked: int | None) -> int:
    """Return how many of a model's layers lie on the GPU; 0 means that the CPU computes.

    `wanted`: `cpu`, `cuda` or `auto`; `asked`: the operator's number. Raises `DeviceMissingError`.
    """
    kinds = xllamacpp.ggml_backend_dev_type
    gpus = (kinds.GGML_BACKEND_DEVICE_TYPE_GPU, kinds.GGML_BACKEND_DEVICE_TYPE_IGPU)
    backend = choose_backend(
        # A number of layers is a GPU asked for.
        CUDA if asked and wanted != "cpu" else wanted,
        can_use_gpu=any(device["type"] in gpus for device in xllamacpp.get_device_info()),
        engine="xllamacpp",
        remedy="pip install xllamacpp --force-reinstall --index-url "
        "https://xorbitsai.github.io/xllamacpp/whl/cu128",
    )
    if asked and backend != CUDA:
        raise DeviceMissingError(f"gpu_layers is {asked}, and the device is the CPU")
    if backend != CUDA:
        return 0
    return ALL_LAYERS if asked is None else asked


def build_parameters(settings: dict[str, Any], gpu_layers: int) -> Any:
    """Return llama.cpp's parameters for a model path, threads, context (tokens) and slots."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = settings["model"]
    parameters.model_alias = {settings["alias"]}
    parameters.n_ctx = settings["context"] * settings["slots"]
    parameters.n_parallel = settings["slots"]
    parameters.cpuparams.n_threads = settings["threads"]
    parameters.cpuparams_batch.n_threads = settings["threads"]
    parameters.n_gpu_layers = gpu_layers
    parameters.api_keys = [settings["key"]]
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_threads_http = settings["slots"] + 1
    # An answer must not depend on what ran before it: a cached prompt is evaluated in other
    # batches, which changes the last bits and with them the tokens.
    parameters.cache_prompt = False
    parameters.cache_ram_mib = 0
    parameters.ctx_shift = False
    parameters.warmup = False
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.verbosity = 0
    return parameters


def describe_device() -> str:
    """Return what the engine computes on, as llama.cpp names it."""
    devices = xllamacpp.get_device_info()
    return ", ".join(f"{device['name']} {device['description']}" for device in devices)


def main() -> None:
    """Serve until standard input ends."""
    settings = json.loads(sys.stdin.readline())
    die_with_parent(settings["parent"])
    try:
        gpu_layers = choose_layers(settings["device"], settings["gpu_layers"])
    except DeviceMissingError as error:
        sys.exit(str(error))
    server = xllamacpp.Server(build_parameters(settings, gpu_layers))
    greeting = {
        "url": server.listening_address,
        "build": f"xllamacpp {xllamacpp.__version__}",
        "device": CUDA if gpu_layers else describe_device(),
        "gpu_layers": gpu_layers,
    }
    sys.stdout.write(json.dumps(greeting) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    # Native threads may be in the middle of a token; nothing of theirs needs saving.
    os._exit(0)


if __name__ == "__main__":
    main()
