"""The contract as files for others: JSON Schemas of every event and envelope, and one AsyncAPI document of every topic.

A schema cannot say everything: signatures, canonical bytes, "no profile twice" and "1.0 is no integer" are the
processor's to refuse (see `schemas/vectors/`).
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import CoreSchema

from b3iq_schemas import decisions, eligibility, events, policy
from b3iq_schemas.asyncapi import document
from b3iq_schemas.envelope import SIGNATURES_MAX

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ENVELOPE = "dsse-envelope"
MODELS: dict[str, type[BaseModel]] = {
    "heartbeat": events.Heartbeat,
    "registration": events.Registration,
    "possession": events.Possession,
    "benchmark": events.Benchmark,
    "route-health": events.RouteHealth,
    "hold": events.Hold,
    "policy": policy.Policy,
    "eligibility-change": eligibility.EligibilityChange,
    "mark": eligibility.Mark,
    "routing-decision": decisions.RoutingDecision,
    "dead-letter": decisions.DeadLetter,
}
"""Every payload by name; the signed ones carry the same name in their payload type."""
BASE64 = r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


class _Generator(GenerateJsonSchema):
    """Pydantic's generator without its made-up titles, and closed where pydantic checks keys by pattern."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def dict_schema(self, schema: Any) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        return made | {"additionalProperties": False} if "patternProperties" in made else made

    def generate(self, schema: CoreSchema, mode: JsonSchemaMode = "validation") -> JsonSchemaValue:
        return {"$schema": DIALECT, **super().generate(schema, mode)}


def json_schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema (2020-12) by name: each payload, and the envelope that carries the signed ones."""
    schemas = {name: _schema(name, model) for name, model in MODELS.items()}
    _forbid_unsound(schemas["policy"])
    return schemas | {ENVELOPE: _envelope()}


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0.0 document of all topics."""
    return document(json_schemas())


def write(folder: Path) -> list[Path]:
    """Write `NAME.schema.json` for each schema and `asyncapi.json` into `folder`; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    documents = {f"{name}.schema.json": schema for name, schema in json_schemas().items()} | {"asyncapi.json": asyncapi()}
    for name, content in documents.items():
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return [folder / name for name in documents]


def _schema(name: str, model: type[BaseModel]) -> dict[str, Any]:
    made = model.model_json_schema(schema_generator=_Generator)
    return {"$schema": made.pop("$schema"), "$id": f"urn:b3iq:schema:{name}:v1", **made}


def _forbid_unsound(schema: dict[str, Any]) -> None:
    """Say in JSON Schema what the policy's own validator says: some words can never be let through."""
    fields = schema["properties"]
    fields["queue_states_passing"]["items"]["not"] = {"enum": ["blocked", "unhealthy"]}
    fields["tiers"]["properties"] = {"unknown": {"properties": {"paid": {"not": {"const": "allowed"}}}}}


def _envelope() -> dict[str, Any]:
    base64 = {"type": "string", "contentEncoding": "base64", "pattern": BASE64}
    signature = {
        "type": "object",
        "additionalProperties": False,
        "required": ["keyid", "sig"],
        "properties": {
            "keyid": {"type": "string", "description": "Lower-case hex SHA-256 of the public key; a hint, never a decision."},
            "sig": base64 | {"description": "Ed25519 over PAE(payloadType, payload): 64 bytes."},
        },
    }
    return {
        "$schema": DIALECT,
        "$id": f"urn:b3iq:schema:{ENVELOPE}:v1",
        "title": "DSSE envelope",
        "description": "DSSE v1 JSON envelope, the value of every signed record. No two signatures share a keyid.",
        "type": "object",
        "additionalProperties": False,
        "required": ["payload", "payloadType", "signatures"],
        "properties": {
            "payload": base64 | {"description": "The exact signed bytes, standard base64 with padding."},
            "payloadType": {"type": "string", "examples": [events.HEARTBEAT_V1]},
            "signatures": {"type": "array", "minItems": 1, "maxItems": SIGNATURES_MAX, "items": signature},
        },
    }
