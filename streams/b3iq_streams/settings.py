"""What every shell is told from outside: where Kafka is, and whom to trust. Flags win over the environment."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from b3iq_schemas.policy import RootTrust
from b3iq_streams.errors import UserError, first_problem
from b3iq_streams.security import SecuritySettings
from b3iq_streams.settings_file import FileSource

_ENVIRONMENT = SettingsConfigDict(env_prefix="B3IQ_", frozen=True, extra="ignore", hide_input_in_errors=True)
_LABEL = r"[A-Za-z0-9_-]{1,63}"
_ADDRESS = rf"({_LABEL}(\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]+\]):[0-9]{{1,5}}"
_ADDRESSES = rf"^{_ADDRESS}(,{_ADDRESS})*$"
_PORT_MAX = 65_535
Settings = TypeVar("Settings", bound=BaseSettings)


_FLAGS = frozenset({"bootstrap", "wait_s", "trust", "kafka_config"})


class KafkaSettings(SecuritySettings):
    """How to reach the brokers, and how to be known by them (`security.py`)."""

    model_config = _ENVIRONMENT

    bootstrap: Annotated[str, Field(pattern=_ADDRESSES)]
    """`host:port`, several with commas."""
    wait_s: Annotated[float, Field(gt=0, le=3_600, allow_inf_nan=False)] = 10.0
    """How long to keep trying to connect."""
    delivery_s: Annotated[float, Field(gt=0, le=3_600, allow_inf_nan=False)] = 30.0
    """How long to wait for the acknowledgement of a record."""
    kafka_config: Path | None = None
    """A file with more of these settings; flags and environment win over it."""

    @field_validator("bootstrap")
    @classmethod
    def _ports(cls, bootstrap: str) -> str:
        if any(int(address.rpartition(":")[2]) > _PORT_MAX for address in bootstrap.split(",")):
            raise ValueError("no such port")
        return bootstrap

    @property
    def client(self) -> dict[str, Any]:
        """The arguments that every aiokafka client gets."""
        return {"bootstrap_servers": self.bootstrap, **self.aiokafka_security}

    @property
    def librdkafka(self) -> dict[str, Any]:
        """The same for clients on librdkafka."""
        return {"bootstrap.servers": self.bootstrap, **self.librdkafka_security}

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        """Flags, then the environment, then the file."""
        assert isinstance(init_settings, InitSettingsSource)
        return init_settings, env_settings, FileSource(settings_cls, init_settings.init_kwargs.get("kafka_config"))


class TrustSettings(BaseSettings):
    """Where the trust file is: the roots, how many must sign, and the processor keys before any policy."""

    model_config = _ENVIRONMENT

    trust: Path

    def load(self) -> RootTrust:
        """The trust in the file; raises UserError if it is not one."""
        try:
            return RootTrust.model_validate_json(self.trust.read_bytes())
        except ValidationError as error:
            raise UserError(f"{self.trust} is not a trust file: {first_problem(error)}") from None
        except OSError as error:
            raise UserError(f"trust file {self.trust}: {error.strerror}") from None


def load(kind: type[Settings], **given: Any) -> Settings:
    """Settings from flags (those that are not None), then the environment; raises UserError naming what is wrong."""
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = str(problem["loc"][0])
        flag, variable = f"--{name.removesuffix('_s').replace('_', '-')}", f"B3IQ_{name.upper()}"
        if problem["type"] == "missing":
            raise UserError(f"{flag} is missing: give it, or set {variable}") from None
        hint = "expected host:port" if name == "bootstrap" else problem["msg"]
        raise UserError(f"{f'{flag} (or {variable})' if name in _FLAGS else variable} is wrong: {hint}") from None
