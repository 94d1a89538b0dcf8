"""The inventory: a TOML file in which the host says what it offers and where its runtimes are.

What it says of a profile is a claim; what the runtime really serves is found out by `probe.py`. Runtime addresses, tokens
and the names that runtimes use stay here: `beat.py` copies the public fields one by one.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import orjson
from pydantic import Field, ValidationError, field_validator, model_validator

from b3iq_schemas.events import PROFILES_MAX
from b3iq_schemas.ids import Contract, ModelId, NetworkId, NodeId, Positive, ProfileId, Token, Wei
from b3iq_streams.catalog.wording import public_id
from b3iq_streams.errors import UserError, first_problem

RUNTIMES_MAX = 16
FILE_BYTES_MAX = 256 * 1024
QUEUES_COUNTED = ("vllm", "sglang")
RuntimeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]


class Runtime(Contract):
    """One local server. Nothing of it is ever published but its kind."""

    kind: Literal["vllm", "sglang", "ollama", "openai"]
    url: Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.\[\]:_-]+(/[A-Za-z0-9._/-]*)?$", max_length=256, repr=False)]
    """Where it listens, without credentials and query; `/v1` is added by the probe."""
    token_file: Path | None = None
    """A file, readable by its owner only, with the bearer token that the runtime wants."""
    queue_degraded_at: Positive | None = None
    """From this many waiting requests on its queue is `degraded`; counted for vLLM and SGLang (with its metrics on)."""
    queue_blocked_at: Positive | None = None

    @property
    def counts_queue(self) -> bool:
        """Whether its metrics are wanted."""
        return self.queue_degraded_at is not None or self.queue_blocked_at is not None

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        parts = urlsplit(url)  # with `port` a ValueError for what is no address, and no part of it in the message
        if not parts.hostname or parts.port == 0:
            raise ValueError("no host, or no port")
        return url

    @model_validator(mode="after")
    def _countable(self) -> Self:
        if self.counts_queue and self.kind not in QUEUES_COUNTED:
            raise ValueError(f"only {' and '.join(QUEUES_COUNTED)} tell how many requests wait")
        degraded, blocked = self.queue_degraded_at, self.queue_blocked_at
        if degraded is not None and blocked is not None and degraded >= blocked:
            raise ValueError("queue_degraded_at must be below queue_blocked_at")
        return self


class Offer(Contract):
    """One profile as the host offers it."""

    profile_id: ProfileId
    model_id: ModelId
    runtime: RuntimeName
    served_as: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """What the runtime calls the model, if not by `model_id`; not published."""
    route_tier: Token
    network_eligible: bool
    benchmark_verified: bool
    paid_route_eligible: bool
    price_wei_per_mtok: Wei
    context_tokens_max: Positive

    @property
    def local_name(self) -> str:
        """What to look for among the models of the runtime."""
        return self.served_as or self.model_id


class Inventory(Contract):
    """Everything that the agent is told about its host."""

    network: NetworkId
    node_id: NodeId
    runtimes: Annotated[dict[RuntimeName, Runtime], Field(min_length=1, max_length=RUNTIMES_MAX)]
    profiles: Annotated[tuple[Offer, ...], Field(min_length=1, max_length=PROFILES_MAX)]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if len({offer.profile_id for offer in self.profiles}) != len(self.profiles):
            raise ValueError("a profile is listed twice")
        for offer in self.profiles:
            if offer.runtime not in self.runtimes:
                raise ValueError(f"profile {offer.profile_id} names a runtime that is not listed")
            if not (public_id(offer.model_id) and public_id(offer.profile_id)):
                raise ValueError(f"an id of profile {offer.profile_id} looks like a token, an address or a path")
        if not public_id(self.node_id):
            raise ValueError("node_id looks like a token, an address or a path")
        return self


def load(path: Path) -> Inventory:
    """The inventory in a file; raises UserError that says where it is wrong."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UserError(f"inventory {path}: {error.strerror}") from None
    if len(raw) > FILE_BYTES_MAX:
        raise UserError(f"inventory {path} is larger than {FILE_BYTES_MAX} bytes")
    try:
        return Inventory.model_validate_json(orjson.dumps(tomllib.loads(raw.decode())))
    except ValidationError as error:
        raise UserError(f"inventory {path}: {first_problem(error)}") from None
    except (ValueError, orjson.JSONEncodeError, RecursionError) as error:  # a number of 5,000 digits is a bare ValueError
        raise UserError(f"inventory {path} is not TOML: {error}") from None
