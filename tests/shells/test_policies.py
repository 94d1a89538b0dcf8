"""Policy revisions on their way to the log: signed by root after root, refused where the processor would refuse them."""

from pathlib import Path

import orjson
import pytest

from b3iq_schemas.canonical import canonical
from b3iq_schemas.envelope import parse, sign
from b3iq_schemas.events import HEARTBEAT_V1
from b3iq_schemas.policy import POLICY_V1, Policy
from b3iq_schemas.topics import POLICIES
from b3iq_streams import keys, policies
from b3iq_streams.cli import run
from b3iq_streams.core.records import CREATE_TIME, LOG_APPEND_TIME, Record
from b3iq_streams.errors import UserError
from b3iq_streams.world import World, demo_policy, sign_policy

WORLD = World.generate(seed=b"policies")
NOW_MS = 1_800_000_000_000


def revision(number: int, **changes: object) -> bytes:
    """A signed revision of the test's world."""
    return sign_policy(WORLD, demo_policy(WORLD, NOW_MS, number, **changes))


def log(*partitions: list[bytes], stamp: int = LOG_APPEND_TIME) -> dict[int, policies.PartitionPolicies]:
    """What the policies topic comes to with these values on its partitions."""
    records = [
        Record(POLICIES, partition, offset, _key(value), value, NOW_MS, stamp)
        for partition, values in enumerate(partitions)
        for offset, value in enumerate(values)
    ]
    return policies.fold(records, WORLD.trust, range(len(partitions)))


def _key(value: bytes) -> bytes:
    return str(orjson.loads(parse(value).payload)["revision"]).encode()


def test_the_template_is_a_sound_policy() -> None:
    """A template passes the schema, and a role without keys can sign nothing."""
    made = policies.template("net", 3, {"processor": ["11" * 32]}, NOW_MS)
    assert (made.revision, made.roles.processor, made.roles.broker) == (3, ("11" * 32,), ())


def test_roots_sign_one_after_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Plain JSON as a person edits it becomes an envelope, and each further root adds one signature to the same payload."""
    plain = tmp_path / "policy.json"
    plain.write_bytes(orjson.dumps(demo_policy(WORLD, NOW_MS).model_dump(mode="json"), option=orjson.OPT_INDENT_2))
    for i, root in enumerate(WORLD.roots[:2]):
        keys.save(root, tmp_path / f"root-{i}.json")
    signed = tmp_path / "envelope.json"
    assert run(["policy", "sign", str(plain), "--key", str(tmp_path / "root-0.json"), "--out", str(signed)]) == 0
    first = parse(signed.read_bytes())
    with pytest.raises(UserError, match="threshold_unmet"):
        policies.plan(signed.read_bytes(), WORLD.trust, log([]))
    assert run(["policy", "sign", str(signed), "--key", str(tmp_path / "root-1.json"), "--out", str(signed)]) == 0
    second = parse(signed.read_bytes())
    assert (len(first.signatures), len(second.signatures)) == (1, 2)
    assert first.payload == second.payload == canonical(demo_policy(WORLD, NOW_MS))
    assert policies.plan(signed.read_bytes(), WORLD.trust, log([]))[1] == [0]
    assert "2 signatures" in capsys.readouterr().out


def test_signing_twice_is_signing_once() -> None:
    """A root that signs again replaces its own signature: an envelope with two by one key would be refused."""
    twice = policies.add_signature(revision(1), WORLD.roots[0])
    assert sorted(s.keyid for s in parse(twice).signatures) == sorted(s.keyid for s in parse(revision(1)).signatures)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "not JSON"),
        (b"[]", "not a policy"),
        (b'{"payload":1}', "envelope_malformed"),
        (sign(HEARTBEAT_V1, b"{}", [WORLD.roots[0]]), "payload type"),
        (sign(POLICY_V1, b'{"a":1}', [WORLD.roots[0]]), "not a policy"),
        (sign(POLICY_V1, b'{ "a": 1 }', [WORLD.roots[0]]), "payload_not_canonical"),
    ],
)
def test_what_is_not_a_policy_is_not_signed(raw: bytes, said: str) -> None:
    """Nobody's signature goes under something that could never be admitted."""
    with pytest.raises(UserError, match=said):
        policies.add_signature(raw, WORLD.roots[0])


def test_a_revision_goes_where_it_is_lacking() -> None:
    """A first publication goes everywhere; one that broke off is finished; one that is done is refused."""
    assert policies.plan(revision(1), WORLD.trust, log([], [], []))[1] == [0, 1, 2]
    assert policies.plan(revision(2), WORLD.trust, log([revision(1)], [revision(1), revision(2)], []))[1] == [0, 2]
    with pytest.raises(UserError, match="already, on every partition"):
        policies.plan(revision(2), WORLD.trust, log([revision(2)], [revision(2)]))


def test_only_higher_revisions_are_published() -> None:
    """A lower revision, or the same with other content, is refused before anything is written."""
    with pytest.raises(UserError, match="not above the published revision 3"):
        policies.plan(revision(2), WORLD.trust, log([revision(3)], []))
    with pytest.raises(UserError, match="not above the published revision 3"):
        policies.plan(revision(3, grace_ms=1), WORLD.trust, log([revision(3)], []))
    with pytest.raises(UserError, match="another policy with revision 3"):
        policies.plan(revision(3, grace_ms=1), WORLD.trust, log([revision(3)], [revision(3, grace_ms=1)]))


def test_strangers_and_other_networks_are_refused() -> None:
    """Signatures of other roots, and a policy of another network, are refused with admission's own codes."""
    stranger = World.generate(WORLD.network, seed=b"stranger")
    with pytest.raises(UserError, match="unauthorized"):
        policies.plan(sign_policy(stranger, demo_policy(stranger, NOW_MS)), WORLD.trust, log([]))
    other = Policy.model_validate(demo_policy(WORLD, NOW_MS).model_dump() | {"network": "other"})
    with pytest.raises(UserError, match="network_mismatch"):
        policies.plan(sign_policy(WORLD, other), WORLD.trust, log([]))


def test_the_log_says_what_was_refused() -> None:
    """A replayed revision is refused and stays visible; without the broker's timestamps nothing counts."""
    held = log([revision(2), revision(1)])[0]
    assert (held.revision, [item.code for item in held.refused]) == (2, ["sequence_replayed"])
    assert [item.code for item in log([revision(1)], stamp=CREATE_TIME)[0].refused] == ["timestamp_type_wrong"]


def test_a_world_survives_its_directory(tmp_path: Path) -> None:
    """What is loaded is what was saved; a second save into the same place is refused."""
    WORLD.save(tmp_path / "w")
    loaded = World.load(tmp_path / "w")
    assert loaded == WORLD
    assert loaded.node_key("node-1") == WORLD.node_key("node-1") != WORLD.node_key("node-2")
    with pytest.raises(UserError, match="not empty"):
        WORLD.save(tmp_path / "w")
