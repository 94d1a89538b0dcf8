"""What runtimes answer, as they really do: their lists of models, their versions, their metrics. No network, no judgement.

Only the fields that are read are described; everything else in an answer is ignored, since it grows with each release.
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MODELS_MAX = 10_000
_WAITING = {"vllm": "vllm:num_requests_waiting", "sglang": "sglang:num_queue_reqs"}
Name = Annotated[str, Field(min_length=1, max_length=512)]


class Malformed(Exception):
    """An answer that is not what the runtime's kind answers."""


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", protected_namespaces=())


class _OpenAiModel(_Answer):
    id: Name
    max_model_len: Annotated[int, Field(ge=1)] | None = None
    """vLLM and SGLang say how long a context may be."""


class OpenAiModels(_Answer):
    """`GET /v1/models`: vLLM, SGLang and every OpenAI-compatible server."""

    data: Annotated[list[_OpenAiModel], Field(max_length=MODELS_MAX)]


class Version(_Answer):
    """`GET /version` of vLLM, `GET /api/version` of Ollama."""

    version: Name


class SglangModel(_Answer):
    """`GET /get_model_info` of SGLang."""

    model_path: Name


class _OllamaModel(_Answer):
    name: Name


class OllamaTags(_Answer):
    """`GET /api/tags` of Ollama: what is installed, loaded or not."""

    models: Annotated[list[_OllamaModel], Field(max_length=MODELS_MAX)]


A = TypeVar("A", bound=_Answer)
Models = Mapping[str, int | None]
"""Names of served models, with the longest context where it is told."""


def parse(kind: type[A], raw: bytes) -> A:
    """An answer of one kind; raises Malformed."""
    try:
        return kind.model_validate_json(raw)
    except ValidationError:
        raise Malformed from None


def openai_models(raw: bytes) -> Models:
    """The models in an OpenAI list."""
    return {model.id: model.max_model_len for model in parse(OpenAiModels, raw).data}


def ollama_models(raw: bytes) -> Models:
    """The models that Ollama has, each also without `:latest`, as Ollama itself takes them."""
    names = [model.name for model in parse(OllamaTags, raw).models]
    return dict.fromkeys([*names, *(name.removesuffix(":latest") for name in names)])


def waiting_requests(kind: str, raw: bytes) -> int:
    """How many requests wait, over all engines, from the runtime's metrics; raises Malformed if they do not say."""
    sample = re.compile(rf"^{_WAITING[kind]}(?:\{{[^\n]*\}})? +([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]{{1,2}})?)(?: [0-9]+)?$", re.M)
    total = sum(map(float, found)) if (found := sample.findall(raw.decode(errors="replace"))) else math.inf
    if not math.isfinite(total):
        raise Malformed
    return int(total)
