from coordinator.services.models import pin_model
from tests.support.world import World


async def test_what_miners_announce_is_known_with_the_block_that_says_it(world: World) -> None:
    fleet, model = world.coordinator.fleet, pin_model("tiny.en")
    assert await fleet.list_offered() == ()
    assert not await fleet.can_do("whisper_transcription", model)
    await world.register(capabilities=["whisper_transcription"], models=[model])
    await world.coordinator.wait_followed()
    assert await fleet.can_do("whisper_transcription", model)
    assert not await fleet.can_do("whisper_transcription", "base")
    assert not await fleet.can_do("llm_inference", pin_model("smollm2-135m"))
    await world.register("rival", capabilities=["llm_inference", "whisper_transcription"])
    await world.coordinator.wait_followed()
    assert await fleet.can_do("llm_inference", pin_model("smollm2-135m"))
    assert (await fleet.count_kinds())["whisper_transcription"] == 2
    offered = await fleet.list_offered()
    assert {each.miner for each in offered} == {"miner_miner", "miner_rival"}
