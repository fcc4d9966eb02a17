"""Where a miner's settings come from: flags, then environment, then file."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from miner.settings import load_settings

FILE = """
miner_id = "from_file"
api_key = "k"
key_file = "miner.key"
threads = 3
[prices]
llm_inference = 5
"""


def test_flags_go_before_the_environment_and_that_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "miner.toml"
    path.write_text(FILE)
    monkeypatch.setenv("AITBC_MINER_THREADS", "4")
    monkeypatch.setenv("AITBC_MINER_CONCURRENCY", "2")
    monkeypatch.setenv("AITBC_MINER_KINDS", '["stable_diffusion"]')
    settings = load_settings(path, concurrency=7, threads=None)
    assert settings.kinds == ["stable_diffusion"]
    assert (settings.miner_id, settings.prices) == ("from_file", {"llm_inference": 5})
    assert (settings.threads, settings.concurrency) == (4, 7)
    assert "k" not in repr(settings.api_key)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_settings(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    "line",
    [
        "threads = 0",
        "api_urls = []",
        'api_urls = ["ftp://x"]',
        "unknown = 1",
        "concurrency = 65",
        "kinds = []",
        'kinds = ["mining"]',
        'kinds = "llm_inference"',
    ],
)
def test_what_makes_no_sense_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "miner.toml"
    path.write_text(f"{line}\n{FILE.replace('threads = 3', '')}")
    with pytest.raises(ValidationError):
        load_settings(path)
