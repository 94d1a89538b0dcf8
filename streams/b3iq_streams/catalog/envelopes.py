"""The answers that other programs know by form: OpenAI's objects, errors in both forms, what a supervisor asks."""

from typing import Literal

from b3iq_schemas.ids import Wei
from b3iq_streams.catalog.models import Answer, Number


class Model(Answer):
    """A model that can be had now, in the OpenAI form."""

    id: str
    object: Literal["model"] = "model"
    created: Number
    """Unix seconds: the freshest observed benchmark among the candidates that serve it."""
    owned_by: Literal["b3iq"] = "b3iq"


class ModelList(Answer):
    """Every model that can be had now."""

    object: Literal["list"] = "list"
    data: tuple[Model, ...]


class RouteAllowed(Answer):
    """Who serves the call."""

    allowed: Literal[True] = True
    code: Literal["allowed"] = "allowed"
    node_id: str
    profile_id: str
    model_id: str
    route_tier: str
    runtime_kind: str
    price_wei_per_mtok: Wei
    throughput_mtok_per_s: Number


class Alive(Answer):
    """The process answers."""

    alive: Literal[True] = True


class Ready(Answer):
    """Every partition is synced and within the bound."""

    ready: Literal[True] = True


class Problem(Answer):
    """An error, in the network's native form."""

    status: int
    title: str
    detail: str
    code: str


class NativeError(Answer):
    """An error of a native page."""

    error: Problem


class OpenAIProblem(Answer):
    """An error in the OpenAI form; the native one is in `b3iq`."""

    message: str
    type: str
    param: None = None
    code: str
    b3iq: Problem


class OpenAIError(Answer):
    """An error of a page that OpenAI clients call."""

    error: OpenAIProblem
