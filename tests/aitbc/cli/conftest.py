"""No test of a command sees the profiles of whoever runs it."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def config_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "config"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    monkeypatch.delenv("AITBC_PROFILE", raising=False)
    return folder
