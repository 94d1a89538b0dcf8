"""What every shell is told from outside: where Kafka is, and whom to trust. Flags win over the environment."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from b3iq_schemas.policy import RootTrust
from b3iq_streams.errors import UserError, first_problem

_ENVIRONMENT = SettingsConfigDict(env_prefix="B3IQ_", frozen=True, extra="ignore")
_ADDRESSES = r"^[A-Za-z0-9._\[\]:-]+:[0-9]{1,5}(,[A-Za-z0-9._\[\]:-]+:[0-9]{1,5})*$"
Settings = TypeVar("Settings", bound=BaseSettings)


class KafkaSettings(BaseSettings):
    """How to reach the brokers."""

    model_config = _ENVIRONMENT

    bootstrap: Annotated[str, Field(pattern=_ADDRESSES)]
    """`host:port`, several with commas."""
    wait_s: Annotated[float, Field(gt=0, le=3_600, allow_inf_nan=False)] = 10.0
    """How long to keep trying to connect."""
    delivery_s: Annotated[float, Field(gt=0, le=3_600, allow_inf_nan=False)] = 30.0
    """How long to wait for the acknowledgement of a record."""

    @property
    def client(self) -> dict[str, Any]:
        """The arguments that every aiokafka client gets."""
        return {"bootstrap_servers": self.bootstrap}

    @property
    def librdkafka(self) -> dict[str, Any]:
        """The same for clients on librdkafka."""
        return {"bootstrap.servers": self.bootstrap}


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
        flag = f"--{name.removesuffix('_s')}"
        if problem["type"] == "missing":
            raise UserError(f"{flag} is missing: give it, or set B3IQ_{name.upper()}") from None
        hint = "expected host:port" if name == "bootstrap" else problem["msg"]
        raise UserError(f"{flag} (or B3IQ_{name.upper()}) is wrong: {hint}") from None
