"""What a kind has and lacks; that it runs is known because its engine came up."""

from pathlib import Path
from typing import Any

from miner.doctor.kinds import check_kinds
from miner.doctor.report import State
from miner.kinds import USUAL
from miner.settings import MinerSettings
from tests.support.text_endpoint import TextEndpoint


def make_settings(folder: Path, **changed: Any) -> MinerSettings:
    given = {"miner_id": "miner_a", "api_key": "k", "key_file": folder / "key", **changed}
    return MinerSettings(**given)


async def test_a_kind_that_is_here_is_brought_up(tmp_path: Path) -> None:
    checks = await check_kinds(make_settings(tmp_path, kinds=["stable_diffusion"]))
    assert [check.name for check in checks] == ["packages", "model", "engine"]
    assert all(check.state is State.OK for check in checks)
    assert "aitbc-numpy-diffusion" in checks[-1].found and "CPU" in checks[-1].found


async def test_a_model_that_is_not_here_says_how_to_get_it(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, kinds=["text_embedding"], models_folder=tmp_path / "m")
    *_, model = await check_kinds(settings)
    assert (model.name, model.state) == ("model", State.MISSING)
    assert model.remedy == f"aitbc miner fetch all-minilm-l6-v2 --models {tmp_path / 'm'}"
    assert not (tmp_path / "m").exists()  # nothing was fetched


async def test_without_a_choice_text_is_needed_and_the_rest_may_be_missing(tmp_path: Path) -> None:
    checks = await check_kinds(make_settings(tmp_path, models_folder=tmp_path / "m"))
    assert {check.subject for check in checks} == set(USUAL)
    lacking = {check.subject for check in checks if check.state is State.MISSING}
    assert lacking == {"llm_inference"}
    assert any(check.state is State.WARNING for check in checks)


async def test_an_engine_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, kinds=["stable_diffusion"], device="cuda:9")
    *_, engine = await check_kinds(settings)
    assert (engine.name, engine.state) == ("engine", State.MISSING)
    assert "device is cuda:9" in engine.found


async def test_a_text_endpoint_is_asked(tmp_path: Path) -> None:
    endpoint = TextEndpoint()
    async with endpoint.serve():
        choices = {"kinds": ["llm_inference"], "text_endpoint": endpoint.url}
        settings = make_settings(tmp_path, **choices, text_endpoint_model="served")
        (check,) = await check_kinds(settings)
        assert check.state is State.OK
        (check,) = await check_kinds(make_settings(tmp_path, **choices))
        assert check.state is State.MISSING
        assert "does not serve 'smollm2-135m'" in check.found
    (check,) = await check_kinds(settings)
    assert check.state is State.MISSING
    assert "does not answer" in check.found
