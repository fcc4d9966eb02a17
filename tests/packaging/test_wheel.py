"""The wheel that people install: our packages, whole, and no name that is somebody else's."""

import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGES, ROOT, get_name, iterate_files


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder: Path = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_only_our_packages(wheel_names: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    (metadata,) = tops - set(PACKAGES)
    assert metadata.startswith("aitbc-")
    assert metadata.endswith(".dist-info")


def test_the_wheel_holds_every_module(wheel_names: set[str]) -> None:
    modules = {get_name(path) for path in iterate_files((".py",), PACKAGES)}
    assert modules <= wheel_names


def test_the_wheel_holds_every_committed_data_file(wheel_names: set[str]) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", *PACKAGES], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert set(filter(None, tracked.stdout.split("\0"))) <= wheel_names


def test_the_wheel_names_the_command_and_the_licence(wheel_names: set[str]) -> None:
    ends = {name.split("/", 1)[1] for name in wheel_names if ".dist-info/" in name}
    assert {"METADATA", "entry_points.txt", "licenses/LICENSE"} <= ends


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_owns_a_name_of_ours(package: str) -> None:
    assert set(packages_distributions().get(package, [])) <= {"aitbc"}
