"""One AsyncAPI 3.0.0 document of all topics, from the table in `topics.py`. Describes; starts and checks nothing.

It speaks for the processor and the router: what they receive, others send, and the other way round.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from b3iq_schemas.topics import CHECKPOINT, DEAD_LETTERS, ELIGIBILITY_CHANGES, INPUTS, POLICIES, ROUTING_DECISIONS, TOPICS, Topic

_PAYLOADS: dict[str, tuple[str, ...]] = {
    **{name: (name.removesuffix("s"),) for name in INPUTS if name != POLICIES},
    POLICIES: ("policy",),
    ELIGIBILITY_CHANGES: ("eligibility-change", "mark"),
    ROUTING_DECISIONS: ("routing-decision",),
    DEAD_LETTERS: ("dead-letter",),
    CHECKPOINT: (),
}
"""What each topic carries, by schema name."""
_UNSIGNED = {"eligibility-change", "dead-letter"}
_SENT = {
    ELIGIBILITY_CHANGES: "the processor publishes whole epochs: changes, then the signed mark that makes them count",
    DEAD_LETTERS: "the processor keeps what it refused",
    ROUTING_DECISIONS: "the router records every paid dispatch, allowed or refused",
}
_RECEIVED = dict.fromkeys(INPUTS, "the processor folds it") | {ELIGIBILITY_CHANGES: "the router follows the chain"}


def document(schemas: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The document; `schemas` are the JSON Schemas by name, with the envelope's."""
    signed = {name for names in _PAYLOADS.values() for name in names} - _UNSIGNED
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "b3iq-streams",
            "version": version("b3iq-streams"),
            "description": "Signed facts about GPU hosts, and the eligibility for paid traffic that follows from them.",
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(topic) for name, topic in TOPICS.items()},
        "operations": dict(_operations()),
        "components": {
            "messages": {
                name: _message(name, topic, name in signed) for topic in TOPICS.values() for name in _PAYLOADS[topic.name]
            },
            "schemas": {name: _inline(schema, schema.get("$defs", {})) for name, schema in schemas.items()},
        },
    }


def _channel(topic: Topic) -> dict[str, Any]:
    settings: dict[str, Any] = dict(topic.config)
    settings["cleanup.policy"] = [topic.cleanup]
    for name in ("retention.ms", "retention.bytes", "max.message.bytes"):
        if name in settings:
            settings[name] = int(settings[name])
    signer = f"Signed by: {topic.role}." if topic.role else "Not signed as a whole."
    made: dict[str, Any] = {
        "address": topic.name,
        "description": f"{topic.purpose}. Key: {topic.key}. {signer} {_placement(topic)}",
        "bindings": {"kafka": {"topic": topic.name, "topicConfiguration": settings, "bindingVersion": "0.5.0"}},
    }
    if names := _PAYLOADS[topic.name]:
        made["messages"] = {name: {"$ref": f"#/components/messages/{name}"} for name in names}
    return made


def _placement(topic: Topic) -> str:
    if topic.name == POLICIES:
        return "Partitions: the network's P; each revision is written to every one."
    if topic.key == "node_id":
        return "Partitions: the network's P; a record is on murmur2(key) & 0x7fffffff mod P."
    if topic.name == ELIGIBILITY_CHANGES:
        return "Partitions: the network's P; a record is on the partition of the inputs that it follows from."
    return "Partitions: the network's P."


def _message(name: str, topic: Topic, signed: bool) -> dict[str, Any]:
    key = "~mark" if name == "mark" else topic.key.split(",")[0]
    made: dict[str, Any] = {
        "name": name,
        "contentType": "application/json",
        "bindings": {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": "0.5.0"}},
    }
    schema = f"#/components/schemas/{name}"
    if not signed:
        return made | {"payload": {"$ref": schema}}
    envelope = {
        "allOf": [{"$ref": "#/components/schemas/dsse-envelope"}],
        "properties": {"payloadType": {"const": topic.payload_type}},
        "x-b3iq-signed-payload": {"$ref": schema},
    }
    return made | {"description": f"A DSSE envelope whose payload, once decoded, is {schema}.", "payload": envelope}


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for action, topics in (("receive", _RECEIVED), ("send", _SENT)):
        for name, summary in topics.items():
            yield f"{action}-{name}", {"action": action, "channel": {"$ref": f"#/channels/{name}"}, "summary": summary}


def _inline(node: Any, definitions: Mapping[str, Any]) -> Any:
    """The schema with its `$defs` put in place, as AsyncAPI tools resolve `#` against the whole document."""
    if isinstance(node, list):
        return [_inline(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inline(definitions[node["$ref"].removeprefix("#/$defs/")], definitions)
    return {key: _inline(value, definitions) for key, value in node.items() if key not in ("$schema", "$id", "$defs")}
