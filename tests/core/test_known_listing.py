"""A heartbeat whose list of profiles is the last one's is read without it: the answer is the same as reading it whole."""

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from b3iq_schemas.canonical import canonical
from b3iq_schemas.topics import HEARTBEATS
from b3iq_streams.core.payload import Read, read_payload
from b3iq_streams.core.values import Beat, Proof
from tests.factory import heartbeat_event, profile

EVENT = heartbeat_event(profiles=[profile("p0"), profile("p1")])
LISTED = orjson.dumps(EVENT["profiles"])
PIECES = (LISTED, b"[]", b'"profiles":', b'"profiles":' + LISTED, b'"x\\"profiles":' + LISTED, b'"a":', b'"', b"\\", b",", b" ",
          b"]", b"[", b"{", b"}", b"null")  # fmt: skip
EDITS = st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(PIECES) | st.just(b""))


def last_beat(payload: bytes) -> Beat:
    """The last heartbeat, whose list is known."""
    read = read_payload(HEARTBEATS, payload)
    assert isinstance(read, Read)
    return Beat(Proof(0, "", "", 0), 1, 1, "online", read.listing, read.claims)


KNOWN = (last_beat(canonical(EVENT)), last_beat(canonical(heartbeat_event(profiles=[]))))


@given(st.lists(EDITS, max_size=3), st.permutations(sorted(EVENT)))
@settings(max_examples=400, deadline=None)
def test_reads_the_same_with_and_without_the_known_list(edits: list[tuple[float, int, bytes]], order: list[str]) -> None:
    """Whatever the bytes: the same event or the same refusal, in any order of keys."""
    payload = orjson.dumps({name: EVENT[name] for name in order})
    for share, dropped, added in edits:
        at = int(share * len(payload))
        payload = payload[:at] + added + payload[at + dropped :]
    whole = read_payload(HEARTBEATS, payload)
    assert [whole, whole] == [read_payload(HEARTBEATS, payload, last) for last in KNOWN]


def test_a_known_list_is_taken_over() -> None:
    """The claims are the very ones of the last heartbeat."""
    read = read_payload(HEARTBEATS, canonical(EVENT | {"seq": 2}), KNOWN[0])
    assert isinstance(read, Read)
    assert read.claims is KNOWN[0].profiles
