"""`check-bundle`: an honest bundle verifies, and whatever is done to one is named, by whoever it is done."""

import functools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical, sha256_hex
from b3iq_schemas.eligibility import MARK_V1
from b3iq_schemas.envelope import parse, sign
from b3iq_streams.audit.bundle.check import Result, check
from b3iq_streams.audit.bundle.contents import Content, decode, encode, load, seal
from b3iq_streams.audit.bundle.prove import LIMITS, Ask, make_bundle
from b3iq_streams.audit.bundle.text import as_data, as_text
from b3iq_streams.audit.times import FAR_FUTURE_MS
from b3iq_streams.errors import UserError
from tests.audit.lab import Lab, busy_lab
from tests.factory import T0, TRUST, key
from tests.sim.crypto import verify

NODES = tuple(f"node-{number}" for number in range(1, 8))
"""Those of the busy lab, and one that was never heard of."""
RANGES = ((0, FAR_FUTURE_MS), (T0 + 60_000, T0 + 200_000), (T0 + 83_000, T0 + 84_000), (T0 + 150_000, FAR_FUTURE_MS))
Plain = dict[str, Any]
Change = Callable[[Plain], None]


@functools.cache
def lab() -> Lab:
    """One busy network for all of these."""
    return busy_lab(refresh_period_ms=30_000)


@functools.cache
def bundle(node: str, from_ms: int = 0, to_ms: int = FAR_FUTURE_MS, operator: bool = False, linked: int = 10_000) -> bytes:
    """A bundle of the busy network."""
    limits = LIMITS._replace(linked_epochs=linked)
    return make_bundle(lab().origin, TRUST, Ask(node, from_ms, to_ms, operator), limits, verify)


def small() -> bytes:
    """A bundle with something of everything: an evidence, a withheld hold, facts, decisions, empty and unshown epochs."""
    return bundle("node-3", T0 + 100_000, T0 + 131_000)


def checked(raw: bytes) -> Result:
    """The check under the lab's trust."""
    return check(raw, TRUST, verify)


def accepted(raw: bytes) -> bool:
    """Whether a file passes for a verified bundle."""
    try:
        return checked(raw).verified
    except UserError:
        return False


def written(plain: Plain) -> bytes:
    """The file for plain data, digests as they are."""
    return canonical(plain) + b"\n"


def resealed(raw: bytes, change: Change) -> bytes:
    """The file after a change by somebody who then recomputes every digest."""
    plain = orjson.loads(raw)
    change(plain)
    del plain["digests"], plain["sha256"]
    return seal(Content.model_validate_json(canonical(plain)))


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize(("from_ms", "to_ms"), RANGES)
@pytest.mark.parametrize("operator", [False, True])
@pytest.mark.parametrize("linked", [10_000, 3])
def test_an_honest_bundle_verifies(node: str, from_ms: int, to_ms: int, operator: bool, linked: int) -> None:
    """For every node, range and openness, with all marks and with only those that concern the node."""
    result = checked(bundle(node, from_ms, to_ms, operator, linked))
    assert result.mismatch is None
    assert not result.altered
    assert ("gaps" in result.unshown) is (linked == 3 and to_ms - from_ms > 3_000)
    assert operator is False or "holds" not in result.unshown


def test_what_was_checked_is_counted() -> None:
    """The counts are of what the log holds."""
    result = checked(bundle("node-4"))
    part = lab().part("node-4")
    own = [record for name, log in part.inputs.records.items() if name != topics.POLICIES for record in log
           if record.key == b"node-4"]  # fmt: skip
    decisions = [record for record in part.chain if (record.key or b"").startswith(b"node-4/")]
    assert len(part.confirmed) == result.counts["marks"] == result.counts["linked"]
    assert len(own) == result.counts["facts"] + result.counts["refused"]
    assert 1 == result.counts["refused"]
    assert len(decisions) == result.counts["decisions"]
    assert 3 == result.counts["policies"]


# whoever alters a bundle and does no more


@given(st.integers(min_value=0), st.integers(1, 255))
@settings(max_examples=150)
def test_no_byte_can_be_changed(at: int, mask: int) -> None:
    """Whichever byte of the file is another one, it is not a verified bundle."""
    raw = bytearray(bundle("node-3"))
    raw[at % len(raw)] ^= mask
    assert not accepted(bytes(raw))


def leaves(plain: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of everything that is neither a list nor an object."""
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for name, value in items:
        yield from leaves(value, (*path, name))
    if not isinstance(plain, dict | list):
        yield path


def lists(plain: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of all lists."""
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for name, value in items:
        yield from lists(value, (*path, name))
    if isinstance(plain, list):
        yield path


def at(plain: Any, path: tuple[str | int, ...]) -> Any:
    """What stands at a path."""
    for step in path:
        plain = plain[step]
    return plain


def other(value: Any) -> Any:
    """Another value of the same kind: for base64, one whose bytes differ in one bit."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if value is None:
        return []
    try:
        raw = bytearray(decode(value))
        raw[len(raw) // 2] ^= 1
        return encode(bytes(raw))
    except (ValueError, IndexError):
        return value[:-1] + ("0" if value[-1:] != "0" else "1")


def test_no_member_can_be_changed() -> None:
    """Every number, word, hash and base64 value of a bundle, changed by itself, is found."""
    paths = list(leaves(orjson.loads(small())))
    passed = []
    for path in paths:
        plain = orjson.loads(small())
        at(plain, path[:-1])[path[-1]] = other(at(plain, path))
        if accepted(written(plain)):
            passed.append(path)
    assert [] == passed
    assert len(paths) > 200


def _drop(found: list[Any], i: int, j: int) -> None:
    del found[i]


def _repeat(found: list[Any], i: int, j: int) -> None:
    found.insert(j, found[i])


def _swap(found: list[Any], i: int, j: int) -> None:
    found[i], found[j] = found[j], found[i]


def _turn(found: list[Any], i: int, j: int) -> None:
    found.reverse()


@given(st.data(), st.sampled_from([_drop, _repeat, _swap, _turn]))
@settings(max_examples=200)
def test_no_list_can_be_changed(data: st.DataObject, change: Callable[[list[Any], int, int], None]) -> None:
    """An element of any list dropped, repeated, swapped with another, or the list turned round, is found."""
    plain = orjson.loads(small())
    found = at(plain, data.draw(st.sampled_from([path for path in lists(plain) if at(plain, path)])))
    before = canonical(found)
    place = st.integers(0, len(found) - 1)
    change(found, data.draw(place), data.draw(place))
    assert accepted(written(plain)) is (canonical(found) == before)


def test_members_have_one_order_and_one_spelling() -> None:
    """Space, another order of members, a member twice, an unknown member: not a bundle."""
    raw, plain = small(), orjson.loads(small())
    digests = dict(reversed(plain["digests"].items()))
    for forged in (raw[:-1], raw + b"\n", raw.replace(b":", b": ", 1), written(plain | {"digests": digests}),
                   written(plain | {"more": 1}), b'{"format":"b3iq-bundle/1",' + raw[1:], b"", b"[]", b"\xff"):  # fmt: skip
        with pytest.raises(UserError, match="not a bundle"):
            checked(forged)


# whoever alters a bundle and recomputes all digests


def _payload(entry: Plain, change: Change) -> None:
    """Change the payload in an envelope; its signatures stay."""
    sealed = orjson.loads(decode(entry["value"]))
    payload = orjson.loads(decode(sealed["payload"]))
    change(payload)
    sealed["payload"] = encode(canonical(payload))
    entry["value"] = encode(canonical(sealed))


def _entry(plain: Plain, topic: str, kind: str = "fact") -> Plain:
    found: Plain = next(entry for entry in plain["records"] if (entry["topic"], entry["kind"]) == (topic, kind))
    return found


def _decided(plain: Plain) -> tuple[Plain, int]:
    """The first epoch that says something new about the node, and the index of that change."""
    for epoch in plain["epochs"]:
        for i, value in enumerate(epoch["changes"] or ()):
            change = orjson.loads(decode(value))
            if change["decision"]["node_id"] == plain["node_id"] and not change["refresh"]:
                return epoch, i
    raise AssertionError


def _fact_of_the_node(plain: Plain) -> None:
    _payload(_entry(plain, topics.HEARTBEATS), lambda payload: payload.update(state="offline"))


def _fact_of_a_role(plain: Plain) -> None:
    _payload(_entry(plain, topics.ROUTE_HEALTH), lambda payload: payload.update(state="unhealthy"))


def _fact_behind_the_start(plain: Plain) -> None:
    _payload(plain["start"]["records"][0], lambda payload: payload.update(stake_wei="1"))


def _policy(plain: Plain) -> None:
    _payload(plain["policies"][-1], lambda payload: payload.update(stake_wei_min="1"))


def _policy_left_out(plain: Plain) -> None:
    del plain["policies"][1]


def _mark(plain: Plain) -> None:
    _payload(plain["epochs"][3]["mark"], lambda payload: payload.update(attempt="0" * 32))


def _mark_moved(plain: Plain) -> None:
    plain["epochs"][3], plain["epochs"][4] = plain["epochs"][4], plain["epochs"][3]


def _decision(plain: Plain) -> None:
    epoch, i = _decided(plain)
    epoch["changes"][i] = encode(decode(epoch["changes"][i]).replace(b'"throughput_mtok_per_s":9', b'"throughput_mtok_per_s":8'))


def _decision_and_its_hash(plain: Plain) -> None:
    _decision(plain)
    epoch, _ = _decided(plain)
    digest = sha256_hex(b"".join(map(decode, epoch["changes"])))
    _payload(epoch["mark"], lambda payload: payload.update(changes_sha256=digest))


def _decision_hidden(plain: Plain) -> None:
    _decided(plain)[0]["changes"] = None


def _state(plain: Plain) -> None:
    state = decode(plain["start"]["state"])
    plain["start"]["state"] = encode(state.replace(b"not held", b"not hold"))


def _state_without_a_fact(plain: Plain) -> None:
    state = orjson.loads(decode(plain["start"]["state"]))
    plain["start"]["state"] = encode(canonical([*state[:3], None, *state[4:]]))


def _state_of_junk(plain: Plain) -> None:
    plain["start"]["state"] = encode(b'{"a":[1]}')


def _start_left_out(plain: Plain) -> None:
    plain["start"] = None


def _record_behind_the_start_left_out(plain: Plain) -> None:
    del plain["start"]["records"][-1]


def _record_of_another_partition(plain: Plain) -> None:
    plain["records"][0]["partition"] += 1


def _policy_of_another_partition(plain: Plain) -> None:
    plain["policies"][0]["partition"] += 1


def _record_behind_the_start_of_another_partition(plain: Plain) -> None:
    plain["start"]["records"][0]["partition"] += 1


def _record_twice(plain: Plain) -> None:
    plain["records"].insert(0, plain["records"][0])


def _record_called_refused(plain: Plain) -> None:
    _entry(plain, topics.HEARTBEATS)["refused"] = "sequence_replayed"


def _heartbeats_of_a_stretch_left_out(plain: Plain) -> None:
    plain["records"] = [entry for entry in plain["records"] if entry["topic"] != topics.HEARTBEATS]


def _log_time(plain: Plain) -> None:
    _entry(plain, topics.HEARTBEATS)["logged_at_ms"] -= 100_000


def _hold_claimed_lifted(plain: Plain) -> None:
    next(e for e in plain["start"]["records"] if e["kind"] == "withheld")["held"] ^= True


def _hold_in_the_range_turned(plain: Plain) -> None:
    _entry(plain, topics.HOLDS, "withheld")["held"] ^= True


def _summary_number(plain: Plain) -> None:
    plain["summary"]["profiles"][0]["eligible_ms"] += 1


def _summary_words(plain: Plain) -> None:
    plain["summary"]["words"][0] = "all is well"


def _another_node(plain: Plain) -> None:
    plain["node_id"] = "node-2"


def _another_range(plain: Plain) -> None:
    plain["range"]["to_ms"] = plain["range"]["from_ms"] + 1_000


def _another_partition(plain: Plain) -> None:
    plain["partitions"] = 1


FORGERIES: tuple[tuple[Change, str], ...] = (
    (_fact_of_the_node, "records"), (_fact_of_a_role, "records"), (_fact_behind_the_start, "start"), (_policy, "policies"),
    (_policy_left_out, "epochs"), (_mark, "epochs"), (_mark_moved, "epochs"), (_decision, "epochs"),
    (_decision_and_its_hash, "epochs"), (_decision_hidden, "epochs"), (_state, "start"), (_state_without_a_fact, "start"),
    (_state_of_junk, "start"), (_start_left_out, "epochs"), (_record_behind_the_start_left_out, "start"),
    (_record_of_another_partition, "records"), (_record_twice, "records"), (_record_called_refused, "records"),
    (_heartbeats_of_a_stretch_left_out, "epochs"), (_log_time, "records"), (_hold_claimed_lifted, "start"),
    (_hold_in_the_range_turned, "epochs"), (_summary_number, "summary"), (_summary_words, "summary"),
    (_policy_of_another_partition, "policies"), (_record_behind_the_start_of_another_partition, "start"),
    (_another_node, "start"), (_another_range, "epochs"), (_another_partition, "head"),
)  # fmt: skip


@pytest.mark.parametrize(("change", "part"), FORGERIES, ids=[change.__name__.strip("_") for change, _ in FORGERIES])
def test_a_forger_who_recomputes_digests_is_found(change: Change, part: str) -> None:
    """Signatures, the chain and the fold find what digests cannot; the answer names the part and both values."""
    result = checked(resealed(bundle("node-3", T0 + 100_000, T0 + 240_000), change))
    assert result.mismatch is not None
    assert part == result.mismatch.part
    assert result.mismatch.claimed != result.mismatch.found
    assert not result.altered


@given(st.data())
@settings(max_examples=150)
def test_no_signed_byte_can_be_changed(data: st.DataObject) -> None:
    """Any byte of any fact, policy, mark or change value, with all digests recomputed, is found."""
    plain = orjson.loads(small())
    entries = [*plain["policies"], *plain["start"]["records"], *plain["records"]]
    holders: list[tuple[Any, Any]] = [(entry, "value") for entry in entries if entry["kind"] == "fact"]
    holders += [(epoch["mark"], "value") for epoch in plain["epochs"]]
    holders += [(epoch["changes"], i) for epoch in plain["epochs"] for i in range(len(epoch["changes"] or ()))]
    holder, name = data.draw(st.sampled_from(holders))
    raw = bytearray(decode(holder[name]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    holder[name] = encode(bytes(raw))
    assert not accepted(resealed(written(plain), lambda _: None))


def test_even_a_processor_cannot_sign_what_does_not_follow() -> None:
    """A decision that the records do not give is found although the right key signed its mark."""

    def forge(plain: Plain) -> None:
        epoch, i = _decided(plain)
        del plain["epochs"][plain["epochs"].index(epoch) + 1 :]
        epoch["changes"][i] = encode(decode(epoch["changes"][i]).replace(b'"since_ms":18', b'"since_ms":17'))
        mark = orjson.loads(parse(decode(epoch["mark"]["value"])).payload)
        mark["changes_sha256"] = sha256_hex(b"".join(map(decode, epoch["changes"])))
        epoch["mark"]["value"] = encode(sign(MARK_V1, canonical(mark), [key("processor")]))
        for part in ("policies", "records"):
            plain[part] = [entry for entry in plain[part] if entry["offset"] < mark["cut"][entry["topic"]]]

    result = checked(resealed(bundle("node-3", T0 + 80_000, T0 + 240_000), forge))
    assert result.mismatch is not None
    assert ("epochs", "decision on node-3/p0") == (result.mismatch.part, result.mismatch.what)
    assert orjson.loads(result.mismatch.claimed)["failing"] != orjson.loads(result.mismatch.found)["failing"]


@pytest.mark.parametrize("operator", [False, True])
def test_a_bundle_is_as_open_as_it_says(operator: bool) -> None:
    """An open hold in what is called public, and a withheld one in what is called an operator's, are found."""
    raw = bundle("node-3", operator=operator)
    result = checked(resealed(raw, lambda plain: plain.update(operator=not operator)))
    assert result.mismatch is not None
    assert ("records", "holds offset 0") == (result.mismatch.part, result.mismatch.where)


def test_a_policy_left_out_is_missed_where_epochs_are_left_out_too() -> None:
    """A mark names the revision that it was decided under, whoever may have signed it."""
    raw = bundle("nobody", linked=3)
    result = checked(resealed(raw, lambda plain: plain["policies"].pop(1)))
    assert result.mismatch is not None
    assert ("policies", "1", "2") == (result.mismatch.part, result.mismatch.claimed, result.mismatch.found)


def test_an_epoch_that_is_left_out_is_said_to_be() -> None:
    """Without one of its marks a bundle may verify, but then it says that an epoch is left out."""
    raw = small()
    empty = next(i for i, epoch in enumerate(orjson.loads(raw)["epochs"]) if i > 3 and epoch["changes"] == [])
    result = checked(resealed(raw, lambda plain: plain["epochs"].pop(empty)))
    assert "gaps" not in checked(raw).unshown
    assert result.mismatch is None
    assert 1 == result.unshown["gaps"]
    assert "left out" in as_text(result)


def test_a_log_time_that_decides_nothing_is_not_shown() -> None:
    """Whoever recomputes digests can give a heartbeat another log time, as long as no decision would be another one; this is
    said with every answer."""

    def later(plain: Plain) -> None:
        _entry(plain, topics.HEARTBEATS)["logged_at_ms"] += 1

    result = checked(resealed(small(), later))
    assert result.mismatch is None
    assert "coordinates" in result.unshown


def test_the_roots_decide() -> None:
    """Under other roots nothing is believed; under another network's trust file there is nothing to check."""
    strangers = TRUST.model_copy(update={"roots": (TRUST.roots[0], "ab" * 32)})
    result = check(small(), strangers)
    assert result.mismatch is not None
    assert "policies" == result.mismatch.part
    for change in ({"network": "other"}, {"generation": 2}):
        with pytest.raises(UserError, match="the trust file is for"):
            check(small(), TRUST.model_copy(update=change))


def test_the_answer_in_words() -> None:
    """Verified: what was checked, why, what to do next, what is not shown. Not verified: where, and both values."""
    said = as_text(checked(bundle("node-3")))
    for words in ("verified: node-3 of testnet", "blocked by operator_hold", "next: ask the operator who holds it",
                  "2  withheld: not checked (holds)", "a bundle cannot show:", "that the node has no other records"):  # fmt: skip
        assert words in said
    forged = orjson.loads(small())
    forged["summary"]["words"][0] = "\x1b[2Jall is well"
    result = checked(written(forged))
    said = as_text(result)
    assert said.startswith("NOT VERIFIED: node-3")
    assert "altered after it was made" in said
    assert "\x1b" not in said
    assert as_data(result)["summary"] is None
    assert {"part", "where", "what", "claimed", "found"} == as_data(result)["mismatch"].keys()


def test_the_summary_is_what_the_decisions_say() -> None:
    """Intervals join up over the whole range, and the share is the sum of the eligible ones."""
    found = load(bundle("node-3")).summary
    (profile,) = found.profiles
    edges = [(interval.from_ms, interval.until_ms) for interval in profile.intervals]
    assert found.from_ms == edges[0][0]
    assert found.until_ms == edges[-1][1]
    assert [until_ms for _, until_ms in edges[:-1]] == [from_ms for from_ms, _ in edges[1:]]
    assert [["eligible"], ["operator_hold"], ["protocol_stake_unsatisfied"], ["eligible"]] == [
        [blocker.code for blocker in interval.blockers] or [interval.verdict] for interval in profile.intervals
    ]
    assert profile.eligible_ms == sum(i.until_ms - i.from_ms for i in profile.intervals if i.verdict == "eligible")


def test_it_needs_no_kafka(tmp_path: Path) -> None:
    """The check runs where neither a Kafka client nor Arrow can be imported."""
    (tmp_path / "bundle.json").write_bytes(small())
    (tmp_path / "trust.json").write_text(TRUST.model_dump_json())
    code = """
import sys
for name in ("aiokafka", "confluent_kafka", "pyarrow", "duckdb", "faust", "b3iq_streams.kafka"):
    sys.modules[name] = None
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.bundle.check import check
from b3iq_streams.audit.bundle.text import as_text
trust = RootTrust.model_validate_json(open("trust.json").read())
print(as_text(check(open("bundle.json", "rb").read(), trust)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ("", 0) == (done.stderr, done.returncode)
    assert done.stdout.startswith("verified: node-3")
