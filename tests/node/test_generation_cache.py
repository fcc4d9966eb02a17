from node.generation_cache import GenerationCache


def test_the_newest_items_are_kept_and_the_number_is_bounded() -> None:
    cache: GenerationCache[int, int] = GenerationCache(10)
    for number in range(1_000):
        cache.put(number, -number)
        assert cache.get(number) == -number
        kept = [item for item in range(number + 1) if item in cache]
        assert len(kept) < 20
        assert kept[-min(10, number + 1) :] == list(range(max(0, number - 9), number + 1))


def test_what_is_used_stays() -> None:
    cache: GenerationCache[int, str] = GenerationCache(10)
    cache.put(-1, "used")
    for number in range(1_000):
        cache.put(number, "passing")
        assert cache.get(-1) == "used"


def test_an_item_may_be_none_and_a_new_value_replaces_an_old_one() -> None:
    cache: GenerationCache[str, int | None] = GenerationCache(2)
    cache.put("absent", None)
    assert "absent" in cache
    assert cache.get("absent") is None
    cache.put("other", 1)
    cache.put("absent", 5)
    assert cache.get("absent") == 5
    assert "unknown" not in cache
