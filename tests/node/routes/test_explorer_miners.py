from node.routes.explorer_miners import is_name


def test_what_could_be_a_name() -> None:
    assert is_name("miner_one") and is_name("a" * 64)
    assert not any(map(is_name, ("", "a" * 65, "ünknown", "\ud800")))
