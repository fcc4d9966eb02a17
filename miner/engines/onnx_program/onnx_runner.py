"""Runs one ONNX model in the sandbox: the request as JSON on standard input, the answer in a file.

Its only argument is where the model lies. Of this package it has `onnx_format` beside it, and
nothing else. The answer is `{"tensors"}` and the `seconds` of loading and running, or why there is
none: `{"invalid"}` for what the client can mend, `{"failed"}` for anything else.
"""

import json
import math
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnxruntime
from onnx_format import NotOnnxError, check_model  # type: ignore[import-not-found]

ANSWER: Final = "answer.json"
PROVIDERS: Final = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
DTYPES: Final = {
    "float": "float32", "double": "float64", "float16": "float16", "bool": "bool",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
MAX_TENSORS: Final = 64
MAX_NAME_CHARACTERS: Final = 200
MAX_ELEMENTS: Final = 200_000
"""Of all outputs together."""
MAX_ANSWER_CHARACTERS: Final = 900_000
MAX_INTEGER: Final = 2**53 - 1
"""The largest number that every reader of JSON reads as it is."""
IDENTITY: Final = bytes.fromhex(
    "08083a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a020801"
    "620f0a0179120a0a08080112040a02080142040a001011"
)
"""A model that gives back one number: whether a provider computes is seen by asking it to."""


class InvalidError(Exception):
    """The client's model or tensors cannot be run, whoever tries."""


def open_session(model: bytes, device: str, threads: int) -> Any:
    """Return a session on that device and no other. Raises ONNX Runtime's own errors."""
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = PROVIDERS[device]
    if wanted not in onnxruntime.get_available_providers():
        raise RuntimeError(f"this build of ONNX Runtime has no {wanted}")
    if device == "cuda":
        onnxruntime.preload_dlls()
    session = onnxruntime.InferenceSession(model, options, providers=[wanted], enable_fallback=0)
    # It goes on with the processor, and says so in a log, where a provider does not come up.
    if session.get_providers()[0] != wanted:
        raise RuntimeError(f"ONNX Runtime did not take {wanted}")
    return session


def build_feed(session: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs as the model declares them. Raises `InvalidError`."""
    declared = {each.name: each.type for each in session.get_inputs()}
    if set(declared) != set(given):
        wanted = ", ".join(sorted(declared))[:300]
        raise InvalidError(f"the model's inputs are: {wanted or 'none'}")
    return {name: convert(name, given[name], kind) for name, kind in declared.items()}


def convert(name: str, value: Any, kind: str) -> Any:
    """Return an input of a declared type, no number changed beyond its rounding."""
    dtype = DTYPES.get(kind.removeprefix("tensor(").removesuffix(")"))
    if dtype is None:
        raise InvalidError(f"{name} is {kind}, and only tensors of numbers are taken")
    try:
        array = np.array(value)
    except ValueError:
        raise InvalidError(f"{name}: the rows are of different lengths") from None
    kinds = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}[np.dtype(dtype).kind]
    if array.size and array.dtype.kind not in kinds:
        raise InvalidError(f"{name} is {kind}, and the values are not")
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    is_same = np.isfinite(cast).all() if cast.dtype.kind == "f" else (cast == array).all()
    if not is_same:
        raise InvalidError(f"{name} is {kind}, and a value is beyond it")
    return cast


def write_tensors(session: Any, outputs: list[Any]) -> dict[str, Any]:
    """Return the outputs by name, as nested lists. Raises `InvalidError`."""
    names = [each.name for each in session.get_outputs()]
    if len(names) > MAX_TENSORS or any(len(name) > MAX_NAME_CHARACTERS for name in names):
        raise InvalidError(f"a model has at most {MAX_TENSORS} outputs with short names")
    size = 0
    for name, array in zip(names, outputs, strict=True):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            raise InvalidError(f"the output {name} is no tensor of numbers")
        size += array.size
        if size > MAX_ELEMENTS:
            raise InvalidError(f"the outputs hold more than {MAX_ELEMENTS} numbers")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InvalidError(f"the output {name} holds what is no number")
        if array.dtype.kind in "iu" and array.size:
            if max(abs(int(array.min())), abs(int(array.max()))) > MAX_INTEGER:
                raise InvalidError(f"the output {name} holds a number over 2^53 - 1")
    return {name: _write(array) for name, array in zip(names, outputs, strict=True)}


def _write(array: Any) -> Any:
    if array.dtype.kind != "f" or array.dtype == np.float64:
        return array.tolist()
    # As short as the type allows: 0.1 and not 0.10000000149011612.
    short = [float(str(number)) for number in array.reshape(-1)]
    return np.array(short, dtype=np.float64).reshape(array.shape).tolist()


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer to a request."""
    begin = time.monotonic()
    with open(sys.argv[1], "rb") as file:
        model = file.read()
    try:
        check_model(model)
        session = open_session(model, request["device"], request["threads"])
        sys.stdout.write("loaded\n")
        sys.stdout.flush()
        tensors = write_tensors(session, session.run(None, build_feed(session, request["tensors"])))
    except (NotOnnxError, InvalidError) as error:
        return {"invalid": str(error)}
    except MemoryError:
        return {"invalid": "the model needs more memory than a run may have"}
    except Exception as error:  # noqa: BLE001 - the runtime's errors have no class in common
        text = f"{type(error).__name__}: {error}"[:500]
        is_models = type(error).__module__.startswith("onnxruntime")
        # A run's memory is bounded everywhere alike; a GPU's, and one that fails, is the machine's.
        is_machines = request["device"] == "cuda" and ("alloc" in text or "CUDA" in text)
        return {"invalid" if is_models and not is_machines else "failed": text}
    return {"tensors": tensors, "seconds": time.monotonic() - begin}


def probe(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what this build is, and whether it computes on the device that is asked for."""
    try:
        session = open_session(IDENTITY, request["device"], 1)
        (found,) = session.run(None, {"x": np.array([1.5], dtype=np.float32)})
        problem = "" if math.isclose(float(found[0]), 1.5) else "it computes wrongly"
    except Exception as error:  # noqa: BLE001 - the runtime's errors have no class in common
        problem = f"{type(error).__name__}: {error}"[:300]
    return {"version": onnxruntime.__version__, "problem": problem}


def main() -> None:
    """Answer the one request."""
    request = json.load(sys.stdin)
    text = json.dumps(run(request) if "tensors" in request else probe(request), allow_nan=False)
    if len(text) > MAX_ANSWER_CHARACTERS:
        text = json.dumps({"invalid": f"the outputs are over {MAX_ANSWER_CHARACTERS} characters"})
    with open(ANSWER, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
