"""WebAssembly: metered, bounded, and the same whenever and wherever it runs."""

import struct
from pathlib import Path
from typing import Any

import pytest

from miner.engines.code import SOURCE, CodeEngine
from miner.engines.code_wasm_runner import System, run
from miner.engines.interface import InputInvalidError
from miner.sandbox.open import find_sandbox
from tests.support.foreign_bench import run_foreign

WASI = '(import "wasi_snapshot_preview1"'
ECHO = f"""(module
  {WASI} "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  {WASI} "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 4096))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
    (i32.store (i32.const 4) (i32.load (i32.const 16)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"""
LOOP = '(module (func (export "_start") (loop $again (br $again))))'
CHANCE = f"""(module
  {WASI} "random_get" (func $random (param i32 i32) (result i32)))
  {WASI} "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  {WASI} "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  {WASI} "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $random (i32.const 64) (i32.const 16)))
    (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 80)))
    (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 88)))
    ;; Which bits a NaN has is left to the machine, unless they are made the same.
    (f64.store (i32.const 96) (f64.div (f64.const -0) (f64.const 0)))
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 40))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
    (call $exit (i32.const 7))))"""


def run_here(source: str, *, fuel: int = 1_000_000, given: bytes = b"", **choices: Any) -> Any:
    system = System(given, choices.pop("seed", b"seed"))
    return run(source.encode(), choices.pop("function", "_start"), fuel, system), system


async def test_a_module_is_metered_and_runs_twice_as_once(tmp_path: Path) -> None:
    engine = CodeEngine(await find_sandbox(allow_unsandboxed=False), None, 1)
    await engine.prepare()
    given = {"numbers": [1, 2.5, "drei"]}
    runs = [await run_foreign(engine, tmp_path, "wasm", {"source": ECHO}, given) for _ in range(2)]
    first = runs[0].result
    assert first.answer == {
        "exit_code": 0, "output": given, "stdout": "", "stderr": "", "fuel": 21,
    }  # fmt: skip
    assert runs[1].result.answer == first.answer
    assert (runs[0].files, first.units) == ({}, 1)
    assert "wasmtime 50" in first.engine
    assert set(first.pins) == {"build", "runner_sha256"}
    with pytest.raises(InputInvalidError, match="fuel of 1000 is used up"):
        await run_foreign(engine, tmp_path, "wasm", {"source": LOOP, "fuel": 1_000})
    with pytest.raises(InputInvalidError, match="no requirements"):
        await run_foreign(engine, tmp_path, "wasm", {"source": LOOP, "requirements": ["numpy"]})
    module = tmp_path / "module"
    module.write_bytes(b"\0asm no module")
    with pytest.raises(InputInvalidError, match="magic|version|parse|unexpected|unknown"):
        await run_foreign(engine, tmp_path, "wasm", {}, sources={SOURCE: module})


def test_chance_and_time_follow_from_the_seed() -> None:
    said, system = run_here(CHANCE)
    assert (said["exit_code"], said["limit"]) == (7, None)
    random, first, second, nan = struct.unpack("<16sQQQ", system.output)
    assert (first, second, hex(nan)) == (1_000_000, 2_000_000, "0x7ff8000000000000")
    assert run_here(CHANCE)[1].output == system.output
    assert run_here(CHANCE, seed=b"other")[1].output[:16] != random


def test_what_a_module_writes_is_bounded() -> None:
    flood = ECHO.replace("(drop (call $write", "(loop $again (drop (call $write").replace(
        "(i32.const 16)))))", "(i32.const 16))) (br $again))))"
    )
    said, _ = run_here(flood, given=b"x" * 4_000, fuel=10**9)
    assert "output is over" in said["limit"]


def test_memory_that_is_not_there_is_a_fault_and_no_end() -> None:
    for address in ("-1", "65535", "0x7fffffff"):
        outside = ECHO.replace("(i32.const 64)", f"(i32.const {address})")
        said, system = run_here(outside, given=b"words")
        assert (said["exit_code"], said["limit"], bytes(system.output)) == (0, None, b"")


def test_a_trap_is_an_exit_code_and_its_words() -> None:
    said, _ = run_here('(module (func (export "go") unreachable))', function="go")
    assert (said["exit_code"], said["limit"]) == (134, None)
    assert "unreachable" in said["stderr"]
    deep = '(module (func $f (export "_start") (call $f) (call $f)))'
    assert "stack" in run_here(deep, fuel=10**9)[0]["stderr"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('(module (import "env" "system" (func)))', "env.system, which is not here"),
        (f'(module {WASI} "fd_read" (memory 1)))', "which is not here"),
        (f'(module {WASI} "made_up" (func (result i64))))', "no function of"),
        ("(module (memory 30000))", "exceeds memory limits"),
        ("(module)", "no function '_start'"),
        ('(module (memory (export "_start") 1))', "no function '_start'"),
        ('(module (func (export "_start") (param i32)))', "takes arguments"),
        ("(module (func (export", "expected|unexpected"),
        ("(module (memory i64 1))", "memory64"),
        ("(module (memory 1 1 shared))", "shared|threads"),
    ],
)
def test_a_module_that_cannot_be_run_is_refused(source: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        run_here(source)


def test_what_needs_a_machine_is_not_there() -> None:
    source = f"""(module
      {WASI} "path_open" (func $open
        (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      {WASI} "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
      {WASI} "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (func (export "_start") (call $exit (i32.and
        (call $accept (i32.const 3) (i32.const 0) (i32.const 0))
        (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)
          (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 8))))))"""
    assert run_here(source)[0]["exit_code"] == 52
