"""Videos that ffmpeg itself draws, and an engine in the sandbox to read them."""

import subprocess
from pathlib import Path

from miner.engines.video import VideoEngine, find_program
from miner.sandbox.open import open_sandbox


def make_video(path: Path, *, size: str = "96x64", seconds: int = 2, sound: bool = True) -> Path:
    """Write a test picture that moves, with a tone."""
    line = [str(find_program()), "-v", "error", "-y"]
    line += ["-f", "lavfi", "-i", f"testsrc=size={size}:rate=10:duration={seconds}"]
    if sound:
        line += ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}", "-c:a", "aac"]
    codec = ["-c:v", "mpeg4"] if path.suffix == ".mp4" else ["-c:v", "ffv1"]
    subprocess.run([*line, *codec, "-threads", "1", str(path)], check=True, timeout=60)
    return path


def read_streams(path: Path) -> str:
    """Return what ffmpeg says of a file."""
    line = [str(find_program()), "-hide_banner", "-i", str(path)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False).stderr


def open_engine() -> VideoEngine:
    return VideoEngine(find_program(), open_sandbox(allow_unsandboxed=False), threads=1)
