"""Services, registry and files on the command line, at a true node."""

import json
from pathlib import Path

from tests.support.clients import served_node


async def test_a_service_is_found_checked_and_run(tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"prompt": "Say hello.", "max_tokens": 16}))
    async with served_node(tmp_path / "n") as served:
        listed = await served.read_command("services", "list")
        assert "llm_inference" in {each["service_id"] for each in listed["services"]}
        found = await served.read_command("registry", "search", "speech")
        assert [each["service_id"] for each in found["services"]] == ["whisper_transcription"]
        shown = await served.read_command("services", "show", "llm_inference")
        assert shown["unit_type"] == "token"
        schema = await served.read_command("registry", "schema", "llm_inference")
        assert "prompt" in schema["properties"]
        assert "needs_gpu" in await served.read_command(
            "registry", "requirements", "stable_diffusion"
        )
        validate = ("registry", "validate", "llm_inference", str(request))
        assert (await served.read_command(*validate))["valid"] is True
        request.write_text(json.dumps({"max_tokens": "many"}))
        wrong = await served.run_command(*validate)
        assert (wrong.exit_code, wrong.stdout) == (2, "")
        assert "/max_tokens" in wrong.stderr
        assert "aitbc registry schema llm_inference" in wrong.stderr
        run = ("services", "run", "llm_inference", "--max-cost", "0.5")
        job = await served.read_command(*run, "-i", "prompt=Say hello.", "-p", "max_tokens=16")
        assert (job["service"], job["prompt"]) == ("llm_inference", "Say hello.")
        assert job["max_units"] < 200
        await served.complete(job["job_id"])
        request.write_text(json.dumps({"input": {"prompt": "From a file."}}))
        other = await served.read_command(*run, "--body", str(request))
        assert other["prompt"] == "From a file."
        unknown = await served.run_command("services", "run", "mind_reading", "-i", "prompt=x")
        assert unknown.exit_code == 31
        assert "aitbc registry search" in unknown.stderr


async def test_files_go_up_and_come_down(tmp_path: Path) -> None:
    source, copy = tmp_path / "sound.wav", tmp_path / "copy.wav"
    source.write_bytes(b"RIFF" + bytes(1000))
    async with served_node(tmp_path / "n") as served:
        stored = await served.read_command("files", "upload", str(source))
        assert (stored["name"], stored["size"]) == ("sound.wav", 1004)
        listed = await served.read_command("files", "list")
        assert [each["file_id"] for each in listed["files"]] == [stored["file_id"]]
        written = await served.read_command("files", "download", stored["file_id"], "-o", str(copy))
        assert written["size"] == 1004
        assert copy.read_bytes() == source.read_bytes()
        assert (await served.run_command("files", "delete", stored["file_id"])).exit_code == 0
        gone = await served.run_command("files", "download", stored["file_id"], "-o", str(copy))
        assert (gone.exit_code, gone.stdout) == (31, "")
        assert "aitbc files list" in gone.stderr
        absent = await served.run_command("files", "upload", str(tmp_path / "absent"))
        assert absent.exit_code == 2
