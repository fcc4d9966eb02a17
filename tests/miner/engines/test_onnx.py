"""Models that come with their jobs: real ones, and hostile models and tensors, in the sandbox."""

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Any

import pytest

from miner.engines.interface import (
    ANY_MODEL,
    OUTPUT,
    EngineFailedError,
    EngineResult,
    InputInvalidError,
)
from miner.engines.onnx import MAX_ELEMENTS, MAX_RANK, OnnxEngine
from miner.gpu.device import Device
from miner.gpu.hardware import Gpu
from miner.sandbox.open import open_sandbox
from miner.sandbox.plain import PlainProcess
from tests.support.onnx_models import (
    BOOL,
    DOUBLE,
    INT64,
    STRING,
    declare,
    field,
    make_external,
    make_linear,
    make_model,
    make_node,
    make_simple,
    make_tensor,
)

FILE = "file_" + "0a" * 32
GPU = Gpu("GPU-0", "NVIDIA L4", 24 * 10**9, "8.9", "570.1", has_energy_counter=False)


def open_engine(device: Device | None = None) -> OnnxEngine:
    sandbox = open_sandbox(allow_unsandboxed=False)
    return OnnxEngine(sandbox, 1) if device is None else OnnxEngine(sandbox, 1, device)


ENGINE = open_engine()


def make_content(model: bytes, tensors: dict[str, Any]) -> dict[str, Any]:
    name = f"net@{hashlib.sha256(model).hexdigest()}"
    return {"model": name, "input": {"model_url": FILE, "tensors": tensors}, "params": {}}


async def infer(
    model: bytes,
    tensors: dict[str, Any],
    folder: Path,
    stop: asyncio.Event | None = None,
    engine: OnnxEngine = ENGINE,
) -> EngineResult:
    path, output = folder / "model_url", folder / OUTPUT
    path.write_bytes(model)
    output.mkdir(exist_ok=True)
    task = engine.read(make_content(model, tensors))
    assert task.sources == {"model_url": FILE}
    files = {"model_url": path, OUTPUT: output}
    return await task.run(files, lambda *_: None, stop or asyncio.Event())


async def test_a_model_is_run_and_the_receipt_can_name_it(tmp_path: Path) -> None:
    model = make_linear()
    result = await infer(model, {"x": [[1, 1, 1], [0.1, 0, 0]]}, tmp_path)
    assert result.answer == {"tensors": {"y": [[6.5], [0.6]]}}
    assert (result.units, result.files) == (1, ())
    assert result.engine.startswith("onnxruntime 1.") and "CPUExecutionProvider" in result.engine
    assert result.device.startswith("CPU ")
    assert result.pins["model_sha256"] == hashlib.sha256(model).hexdigest()
    assert result.pins["provider"] == "CPUExecutionProvider" and result.pins["threads"] == "1"
    assert not (await ENGINE.prepare()).has_gpu and ENGINE.model == ANY_MODEL


async def test_where_none_is_wanted_it_runs_without_a_sandbox_and_says_so(tmp_path: Path) -> None:
    engine = OnnxEngine(PlainProcess(), 1)
    result = await infer(make_linear(), {"x": [[1, 1, 1]]}, tmp_path, engine=engine)
    assert result.answer == {"tensors": {"y": [[6.5]]}}
    assert result.engine.endswith("no sandbox, prlimit")


@pytest.mark.parametrize(
    ("model", "given", "made"),
    [
        (make_simple("Identity", (), DOUBLE), 0.1, 0.1),
        (make_simple("Neg", ("n", 2), INT64), [[1, -(2**53) + 1]], [[-1, 2**53 - 1]]),
        (make_simple("Not", ("n",), BOOL), [True, False], [False, True]),
        (make_simple("Relu", ("n", "m")), [[]], [[]]),
    ],
)
async def test_types_and_shapes_come_back_as_they_are(
    model: bytes, given: Any, made: Any, tmp_path: Path
) -> None:
    assert (await infer(model, {"x": given}, tmp_path)).answer == {"tensors": {"y": made}}


HUGE = make_model(
    [make_node("ConstantOfShape", ("s",), ("y",))],
    [declare("s", (2,), INT64)],
    [declare("y", ("n", "m"))],
)
CUSTOM = make_node("Run", ("x",), ("y",), field(7, "evil.library"))
TEXT = field(1, 1) + field(2, STRING) + field(8, "y") + field(6, b"text")
ENDLESS = make_simple("Relu")[:-10]


@pytest.mark.parametrize(
    ("model", "tensors", "said"),
    [
        (b"not a model", {"x": [1]}, "not a model"),
        (b"ORTM" + bytes(200), {"x": [1]}, "not a model"),
        (ENDLESS, {"x": [1]}, "not a model"),
        (make_model([], [], [declare("w", (4,))], [make_external("w", "/etc/passwd")]), {"x": 1},
         "outside of its file"),
        (make_model([CUSTOM], [declare("x", (1,))], [declare("y", (1,))]), {"x": [1]}, "evil"),
        (make_model([], [declare("x", (1,))], [declare("y", (1,), STRING)], [TEXT]), {"x": [1]},
         "no tensor of numbers"),
        (make_linear(), {"x": [[1, 2]]}, "imensions"),
        (make_linear(), {"z": [[1, 2, 3]]}, "inputs are: x"),
        (make_linear(), {"x": [[1, 2, 3], [1]]}, "different lengths"),
        (make_linear(), {"x": [[1, 2, 1e39]]}, "beyond"),
        (make_simple("Neg", ("n",), INT64), {"x": [1.5]}, "are not"),
        (make_simple("Neg", ("n",), INT64), {"x": [2**63]}, "beyond|are not"),
        (make_simple("Neg", ("n",), INT64), {"x": [2**62]}, "2.53"),
        (make_simple("Identity", ("n",), STRING), {"x": [1]}, "tensors of numbers"),
        (make_simple("Not", ("n",), BOOL), {"x": [1]}, "are not"),
        (make_simple("Log"), {"x": [0]}, "no number"),
        (HUGE, {"s": [1_000, 1_000]}, "more than 200000"),
    ],
)  # fmt: skip
async def test_a_bad_model_or_tensor_is_the_clients_fault(
    model: bytes, tensors: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputInvalidError, match=said):
        await infer(model, tensors, tmp_path)


async def test_more_memory_than_a_run_has_costs_the_job_and_not_the_miner(tmp_path: Path) -> None:
    with pytest.raises(InputInvalidError, match="memory|alloc"):
        await infer(HUGE, {"s": [100_000, 1_000_000]}, tmp_path)
    second = tmp_path / "second"
    second.mkdir()
    assert (await infer(make_simple("Relu"), {"x": [1]}, second)).units == 1


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({}, "tensors"),
        ({f"x{number}": 1 for number in range(65)}, "tensors"),
        ({"x": "text"}, "no tensor"),
        ({"x": None}, "no tensor"),
        ({"x": {"a": 1}}, "no tensor"),
        ({"x": [1, [2]]}, "no number"),
        ({"x": [[1], 2]}, "no tensor|no number"),
        ({"x": [1, True]}, "no number"),
        ({"x": [[0] * 1_000] * (MAX_ELEMENTS // 1_000 + 1)}, "more than"),
    ],
)
def test_what_is_no_tensor_is_refused_before_anything_runs(
    tensors: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputInvalidError, match=said):
        ENGINE.read(make_content(b"", tensors))


def test_tensors_are_so_deep_and_models_have_a_hash() -> None:
    deep: Any = 1
    for _ in range(MAX_RANK):
        deep = [deep]
    ENGINE.read(make_content(b"", {"x": deep}))
    with pytest.raises(InputInvalidError, match="lists deep"):
        ENGINE.read(make_content(b"", {"x": [deep]}))
    for name in ("onnx", "onnx@", "onnx@" + "0A" * 32, None):
        with pytest.raises(InputInvalidError, match="name@sha256"):
            ENGINE.read({**make_content(b"", {"x": 1}), "model": name})


async def test_another_model_than_the_job_names_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "model_url").write_bytes(make_simple("Neg"))
    task = ENGINE.read(make_content(make_simple("Relu"), {"x": [1]}))
    with pytest.raises(InputInvalidError, match="names another"):
        await task.run(
            {"model_url": tmp_path / "model_url", OUTPUT: tmp_path},
            lambda *_: None,
            asyncio.Event(),
        )


async def test_it_stops_within_two_seconds(tmp_path: Path) -> None:
    # A loop of more rounds than anybody waits for.
    body = field(1, make_node("Identity", ("c",), ("d",))) + field(
        1, make_node("Cos", ("v",), ("w",))
    )
    body += (
        field(2, "body") + field(11, declare("i", (), INT64)) + field(11, declare("c", (), BOOL))
    )
    body += field(11, declare("v", ("n",))) + field(12, declare("d", (), BOOL))
    body += field(12, declare("w", ("n",)))
    loop = make_node(
        "Loop", ("m", "", "x"), ("y",), field(5, field(1, "body") + field(6, body) + field(20, 5))
    )
    rounds = make_tensor("m", (), (2**40).to_bytes(8, "little"), INT64)
    model = make_model([loop], [declare("x", ("n",))], [declare("y", ("n",))], [rounds])
    stop = asyncio.Event()
    running = asyncio.create_task(infer(model, {"x": [1.0]}, tmp_path, stop))
    await asyncio.sleep(2)
    assert not running.done()
    begin = time.monotonic()
    stop.set()
    result = await running
    assert time.monotonic() - begin < 2
    assert (result.is_cut, result.units) == (True, 0)


async def test_a_gpu_that_the_build_cannot_use_is_refused_and_never_replaced() -> None:
    with pytest.raises(EngineFailedError, match="no CUDAExecutionProvider"):
        await open_engine(Device(GPU, is_required=True)).prepare()
    description = await open_engine(Device(GPU)).prepare()  # as it finds it, and says so
    assert description.device.startswith("CPU ") and not description.has_gpu
