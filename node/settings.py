"""The node's settings: flags over environment (`AITBC_…`) over the data folder's `config.toml`.

What all nodes of a chain must agree on is no setting: it stands in genesis.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

CONFIG_FILE = "config.toml"
MAX_ADDRESSES = 256
_RATES = re.compile(r"([1-9][0-9]{0,8})/minute\s*,\s*([1-9][0-9]{0,8})/hour", re.ASCII)


def _split(value: object) -> object:
    """Return the parts of a comma-separated text; anything else as it is."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def split_endpoint(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT` or `[HOST]:PORT`. Raises `ValueError`."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError("an endpoint is HOST:PORT")
    return host, int(port)


def _check_endpoint(text: str) -> str:
    split_endpoint(text)
    return text


def split_rates(text: str) -> tuple[int, int]:
    """Return the two numbers of `60/minute, 1000/hour`. Raises `ValueError`."""
    match = _RATES.fullmatch(text)
    if match is None:
        raise ValueError("rates are written `60/minute, 1000/hour`")
    return int(match[1]), int(match[2])


def _check_rates(text: str) -> str:
    split_rates(text)
    return text


Addresses = Annotated[
    tuple[Annotated[str, Field(max_length=256, pattern=r"^/")], ...],
    NoDecode,
    BeforeValidator(_split),
    Field(max_length=MAX_ADDRESSES),
]


Origins = Annotated[
    tuple[Annotated[str, Field(max_length=256, pattern=r"^(\*|https?://[^/\s]+)$")], ...],
    NoDecode,
    BeforeValidator(_split),
    Field(max_length=MAX_ADDRESSES),
]


class InvalidSettings(ValueError):
    """A setting has no meaning; the text names it and where it came from."""


class NodeSettings(BaseSettings):
    """Everything an operator may choose about one node."""

    model_config = SettingsConfigDict(env_prefix="AITBC_", extra="forbid", frozen=True)

    data: Path = Field(description="Folder of this node: genesis, keys, database, journal.")
    api_host: str = Field("127.0.0.1", description="Address that the HTTP API listens on.")
    api_port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        8001, description="Port of the HTTP API; 0 takes a free one."
    )
    p2p_transport: Literal["thread", "process", "none"] = Field(
        "thread", description="Where the network runs; `none` only for a chain's lone authority."
    )
    p2p_listen: Annotated[str, AfterValidator(_check_endpoint)] = Field(
        "127.0.0.1:9001", description="Where peers connect, HOST:PORT; port 0 takes a free one."
    )
    p2p_bootstrap: Addresses = Field(
        (), description="Multiaddresses to dial, comma-separated: as /ip4/HOST/tcp/PORT/p2p/PEER."
    )
    p2p_advertised: Addresses = Field(
        (), description="Multiaddresses where others reach this node, if not at `p2p_listen`."
    )
    p2p_max_observers: Annotated[int, Field(ge=0, le=1_000)] = Field(
        32, description="How many nodes that are no authority may connect; 0 lets none in."
    )
    db_encryption_enabled: bool = Field(
        True, description="False is refused unless the chain is marked DEV."
    )
    db_encryption_key_path: Path | None = Field(
        None, description="File with the database's key, mode 0600; by default in the data folder."
    )
    node_key_path: Path | None = Field(
        None, description="Keystore file of the node's key; it votes where the chain names the key."
    )
    node_password_path: Path | None = Field(
        None, description="File with the password of the node's key, mode 0600."
    )
    mempool_backend: Literal["database", "memory"] = Field(
        "database", description="`memory` forgets accepted transactions at a restart."
    )
    mempool_transactions: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        50_000, description="How many transactions may wait."
    )
    zk_backend: Literal["arkworks", "py_ecc"] = Field(
        "arkworks", description="Library that verifies proofs; `py_ecc` is a hundred times slower."
    )
    proving_key_path: Path | None = Field(
        None,
        description="Ceremony's `.zkey`, to prove for custodial miners; DEV chains have their own.",
    )
    default_model: str = Field("smollm2-135m", description="Model of a job that names none.")
    price_per_token_base: Annotated[int, Field(ge=1, le=10**15)] = Field(
        10_000, description="Base units per token, or other unit, of a job without `max_cost`."
    )
    job_timeout_seconds: Annotated[int, Field(ge=1, le=604_800)] = Field(
        3_600, description="Total deadline of a job that names none."
    )
    retention_seconds: Annotated[int, Field(ge=60)] = Field(
        7 * 86_400, description="How long inputs and results are kept after a job ended."
    )
    max_file_bytes: Annotated[int, Field(ge=1, le=2**31)] = Field(
        256 * 1024 * 1024, description="Largest upload."
    )
    rate_limits: Annotated[str, AfterValidator(_check_rates)] = Field(
        "60/minute, 1000/hour",
        description="Requests of one API key; it may poll ten times as often as the first says.",
    )
    cors_origins: Origins = Field(
        (), description="Origins whose web pages may call the API, comma-separated; `*` is any."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severity of the log."
    )
    log_format: Literal["json", "console"] = Field("json", description="Log lines on stderr.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then the file of the data folder; nothing else is read."""
        data = init_settings().get("data") or env_settings().get("data")
        if data is None:
            return init_settings, env_settings
        toml = TomlConfigSettingsSource(settings_cls, Path(data) / CONFIG_FILE)
        return init_settings, env_settings, toml

    def get_database_path(self) -> Path:
        return self.data / "node.db"

    def get_database_key_path(self) -> Path:
        return self.db_encryption_key_path or self.data / "database.key"

    def get_node_key_path(self) -> Path:
        return self.node_key_path or self.data / "node.key"

    def get_node_password_path(self) -> Path:
        return self.node_password_path or self.data / "node.password"


def load_settings(**flags: Any) -> NodeSettings:
    """Return the settings in force. Raises `InvalidSettings`."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return NodeSettings(**given)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()
        )
        raise InvalidSettings(problems) from None
    except (OSError, ValueError) as error:
        raise InvalidSettings(f"{CONFIG_FILE} cannot be read: {error}") from None


def describe_settings(settings: NodeSettings) -> list[tuple[str, Any, str]]:
    """Return (name, value in force, description) of every setting; no value is a secret."""
    return [
        (name, getattr(settings, name), field.description or "")
        for name, field in NodeSettings.model_fields.items()
    ]
