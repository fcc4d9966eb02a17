"""Which setting is in force: flag over environment over file; what has no meaning is refused."""

from pathlib import Path

import pytest

from node.settings import (
    InvalidSettings,
    NodeSettings,
    describe_settings,
    load_settings,
    split_endpoint,
    split_rates,
)


def test_flags_win_over_environment_and_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text(
        'api_port = 1\nlog_level = "error"\nmempool_backend = "memory"\n'
    )
    monkeypatch.setenv("AITBC_API_PORT", "2")
    monkeypatch.setenv("AITBC_LOG_LEVEL", "debug")
    settings = load_settings(data=tmp_path, api_port=3)
    assert (settings.api_port, settings.log_level, settings.mempool_backend) == (
        3,
        "debug",
        "memory",
    )


def test_the_seeds_names_and_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings(data=tmp_path)
    assert settings.db_encryption_enabled is True
    assert settings.db_encryption_key_path is None
    assert settings.mempool_backend == "database"
    assert (settings.api_host, settings.api_port) == ("127.0.0.1", 8001)


@pytest.mark.parametrize(
    "text",
    ["api_port = 70000", "unknown_setting = 1", 'mempool_backend = "redis"', "not toml at all ="],
)
def test_a_setting_without_meaning_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(InvalidSettings):
        load_settings(data=tmp_path)


def test_there_are_at_most_25_and_each_says_what_it_is(tmp_path: Path) -> None:
    described = describe_settings(load_settings(data=tmp_path))
    assert len(described) == len(NodeSettings.model_fields) <= 25
    assert all(text for name, _, text in described if name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:9001", ("::1", 9001)), ("a.b:1", ("a.b", 1))],
)
def test_an_endpoint_is_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert split_endpoint(text) == expected


@pytest.mark.parametrize("text", ["", "9001", ":9001", "a:", "a:b", "a:65536", "a:-1", "a:\u0661"])
def test_what_is_no_endpoint_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidSettings):
        load_settings(data=tmp_path, p2p_listen=text)


def test_addresses_are_given_as_one_text(tmp_path: Path) -> None:
    settings = load_settings(data=tmp_path, p2p_bootstrap="/ip4/1.2.3.4/tcp/1, /dns/a/tcp/2")
    assert settings.p2p_bootstrap == ("/ip4/1.2.3.4/tcp/1", "/dns/a/tcp/2")
    with pytest.raises(InvalidSettings):
        load_settings(data=tmp_path, p2p_bootstrap="1.2.3.4:1")


def test_rates_and_origins_are_written_as_people_write_them(tmp_path: Path) -> None:
    settings = load_settings(
        data=tmp_path, rate_limits="5/minute, 70/hour", cors_origins="https://a.example, *"
    )
    assert split_rates(settings.rate_limits) == (5, 70)
    assert settings.cors_origins == ("https://a.example", "*")


@pytest.mark.parametrize(
    "flags",
    [
        {"rate_limits": "60"},
        {"rate_limits": "0/minute, 1/hour"},
        {"rate_limits": "1/hour, 1/minute"},
        {"cors_origins": "a.example"},
        {"cors_origins": "https://a.example/path"},
    ],
)
def test_rates_and_origins_without_meaning_are_refused(
    tmp_path: Path, flags: dict[str, str]
) -> None:
    with pytest.raises(InvalidSettings):
        load_settings(data=tmp_path, **flags)
