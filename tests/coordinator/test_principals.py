from coordinator.principals import MAX_KEY_LENGTH, find_issuer, hash_key, make_key

COORDINATOR = bytes(range(20))


def test_a_key_names_who_issued_it() -> None:
    key = make_key(COORDINATOR)
    assert key.startswith("aitbc_")
    assert len(key) <= MAX_KEY_LENGTH
    assert find_issuer(key) == COORDINATOR
    assert make_key(COORDINATOR) != key
    assert len(hash_key(key)) == 32


def test_what_is_no_key_names_nobody() -> None:
    key = make_key(COORDINATOR)
    for text in ("", "aitbc_", key[:-1], key[6:], "x" * 200, key.replace("_", "-"), "aitbc_é" * 9):
        assert find_issuer(text) is None
