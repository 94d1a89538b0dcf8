"""The agent's parts: one instance, waits, clocks, keys that change, rotation, and the words of `check`."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from nacl.pwhash import argon2id
from nacl.signing import SigningKey

from b3iq_schemas.codes import RouteRefusal
from b3iq_schemas.eligibility import Decision, Failing
from b3iq_schemas.envelope import keyid, pae, verify
from b3iq_schemas.events import POSSESSION_V1, Heartbeat, Registration, possession_payload
from b3iq_schemas.topics import HEARTBEATS
from b3iq_streams import keys, sealing
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError
from b3iq_streams.node import rotation
from b3iq_streams.node.check import Findings, Letter, Said, refusal_in
from b3iq_streams.node.check_text import as_text
from b3iq_streams.node.identity import Identity
from b3iq_streams.node.instance import default_root, sole_instance
from b3iq_streams.node.pace import JITTER, RETRY_MAX_S, Backoff, interval
from b3iq_streams.node.registered import Known
from b3iq_streams.node.skew import SkewWatch, skew_ms
from tests.chainlab import decision
from tests.factory import T0, heartbeat_event, registration_event

HOLDER = """
import sys, time
from pathlib import Path
from typing import Any
from b3iq_streams.node.instance import sole_instance
with sole_instance(Path(sys.argv[1]), "net", "node-1"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_agent_per_identity(tmp_path: Path) -> None:
    """A second process is refused while the first lives, and not a moment longer, even if that was killed."""
    first = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    assert first.stdout is not None
    try:
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another agent runs"), sole_instance(tmp_path, "net", "node-1"):
            pass
        with sole_instance(tmp_path, "net", "node-2"):
            pass
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
        first.stdout.close()
    with sole_instance(tmp_path, "net", "node-1") as directory:
        assert tmp_path / "net" / "node-1" == directory


def test_waits_double_and_stay_bounded() -> None:
    """Ten thousand failures are no error and no storm: waits reach half a minute to a minute, and stay there."""
    backoff = Backoff()
    waits = [backoff.next() for _ in range(10_000)]
    assert 0.5 <= waits[0] <= 1
    assert all(RETRY_MAX_S / 2 <= wait <= RETRY_MAX_S for wait in waits[7:])
    assert len(set(waits)) > 1_000
    assert all(10 * (1 - JITTER) <= interval(10) <= 10 for _ in range(100))


@pytest.mark.parametrize(("before", "logged", "after", "found"), [
    (100, 100, 100, 0), (100, 150, 200, 0), (100, 40, 200, 60), (100, 260, 200, -60),
])  # fmt: skip
def test_a_skew_is_what_the_acknowledgement_proves(before: int, logged: int, after: int, found: int) -> None:
    """Only the part that the way to the broker and back cannot explain counts."""
    assert found == skew_ms(before, logged, after)


def test_a_skew_is_told_once() -> None:
    """When it begins, with its side, and when it is over."""
    watch = SkewWatch()
    told = [watch.look(at, at + off, at + 10) for at, off in ((0, 5), (100_000, -90_000), (200_000, -90_000), (300_000, 5))]
    assert told[0] is told[2] is None
    assert "90000 ms ahead of" in (told[1] or "")
    assert "agrees" in (told[3] or "")
    assert "4990 ms behind" in (SkewWatch().look(0, 5_000, 10) or "")


def test_a_replaced_key_file_is_taken_up(tmp_path: Path) -> None:
    """The next heartbeat is signed with the file's new key; a bad file is told and changes nothing."""
    path, other = tmp_path / "k.json", tmp_path / "other.json"
    first, second = SigningKey.generate(), SigningKey.generate()
    keys.save(first, path)
    identity = Identity(path)
    assert bytes(first) == bytes(asyncio.run(identity.refresh()))
    keys.save(second, other)
    os.replace(other, path)
    assert bytes(second) == bytes(asyncio.run(identity.refresh()))
    other.write_bytes(b"{}")
    os.replace(other, path)
    assert bytes(second) == bytes(asyncio.run(identity.refresh()))


def test_a_key_that_is_sealed_while_the_agent_runs_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal, too: it goes on with the key it has, since heartbeats cannot wait for a person; from the environment it
    takes the passphrase."""
    path, other = tmp_path / "k.json", tmp_path / "other.json"
    monkeypatch.setattr(sealing, "OPS", argon2id.OPSLIMIT_MIN)
    monkeypatch.setattr(sealing, "MEMORY_BYTES", argon2id.MEMLIMIT_MIN)
    monkeypatch.delenv("B3IQ_KEY_PASSPHRASE_FILE", raising=False)
    monkeypatch.delenv("B3IQ_KEY_PASSPHRASE", raising=False)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    first, second, third = (SigningKey.generate() for _ in range(3))
    keys.save(first, path)
    identity = Identity(path)
    for key, expected in ((second, first), (third, third)):
        keys.save(key, other, b"correct horse battery")
        os.replace(other, path)
        assert bytes(expected) == bytes(asyncio.run(identity.refresh()))
        monkeypatch.setenv("B3IQ_KEY_PASSPHRASE", "correct horse battery")


def test_a_user_without_a_home_is_told_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container under a number that no passwd file knows."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(UserError, match="give --state"):
        default_root()


def test_a_lost_sequence_is_found_under_the_old_key(tmp_path: Path) -> None:
    """After a rotation the node's heartbeats in the log are those of either key, so both are looked for."""
    path = tmp_path / "k.json"
    keys.save(SigningKey.generate(), path)
    pair = {bytes.fromhex(entry["public_key"]) for entry in rotation.prepare(path, "net", "node-1")}
    assert pair == set(Identity(path).publics())
    rotation.finish(path, {keyid(public): public for public in pair})
    assert pair == set(Identity(path).publics())


def test_a_damaged_next_key_never_takes_the_place_of_a_good_one(tmp_path: Path) -> None:
    """A next key whose file contradicts itself is refused, and the current one stays."""
    path = tmp_path / "k.json"
    first, other = SigningKey.generate(), SigningKey.generate()
    keys.save(first, path)
    public = bytes.fromhex(rotation.prepare(path, "net", "node-1")[1]["public_key"])
    waiting = rotation.beside(path, "next")
    waiting.write_bytes(orjson.dumps(orjson.loads(waiting.read_bytes()) | {"secret_seed": bytes(other).hex()}))
    with pytest.raises(UserError, match="contradicts itself"):
        rotation.finish(path, {keyid(public): public})
    assert bytes(first) == bytes(keys.load(path))


@pytest.mark.parametrize("sealed", [False, True])
def test_rotation(sealed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both proofs hold; the key changes only when it is listed; the old one is kept, and nothing is made twice."""
    path = tmp_path / "k.json"
    monkeypatch.setenv("B3IQ_KEY_PASSPHRASE", "correct horse battery")
    monkeypatch.setattr(sealing, "OPS", argon2id.OPSLIMIT_MIN)
    monkeypatch.setattr(sealing, "MEMORY_BYTES", argon2id.MEMLIMIT_MIN)
    old = SigningKey.generate()
    keys.save(old, path, b"correct horse battery" if sealed else None)
    entries = rotation.prepare(path, "net", "node-1")
    assert entries == rotation.prepare(path, "net", "node-1")
    assert keys.public_hex(old) == entries[0]["public_key"] != entries[1]["public_key"]
    for entry in entries:
        public = bytes.fromhex(entry["public_key"])
        claim = pae(POSSESSION_V1, possession_payload("net", "node-1", public))
        assert verify(public, claim, bytes.fromhex(entry["proof"]))
    assert sealed is isinstance(keys.read(rotation.beside(path, "next")), keys.SealedKeyFile)
    listed = {keyid(public): public for public in (bytes.fromhex(entry["public_key"]) for entry in entries)}
    with pytest.raises(UserError, match="no registration lists"):
        rotation.finish(path, {keyid(bytes(old.verify_key)): bytes(old.verify_key)})
    assert bytes(old) == bytes(keys.load(path))
    assert entries[1]["public_key"] == rotation.finish(path, listed)
    assert entries[1]["public_key"] == keys.public_hex(keys.load(path))
    assert bytes(old) == bytes(keys.load(rotation.beside(path, "old")))
    with pytest.raises(UserError, match="there is no"):
        rotation.finish(path, listed)
    with pytest.raises(UserError, match="left from an earlier rotation"):
        rotation.prepare(path, "net", "node-1")
    assert not rotation.beside(path, "next").exists()


def test_a_rotation_that_broke_off_is_finished(tmp_path: Path) -> None:
    """A crash between the two steps of the exchange leaves a key in place, and the command may be run again."""
    path = tmp_path / "k.json"
    keys.save(SigningKey.generate(), path)
    public = bytes.fromhex(rotation.prepare(path, "net", "node-1")[1]["public_key"])
    os.link(path, rotation.beside(path, "old"))
    assert public.hex() == rotation.finish(path, {keyid(public): public})


def findings(*decisions: Decision | None, **changes: Any) -> Findings:
    """A node with a registration and a heartbeat, and these decisions."""
    at_ms = T0 + 5_000
    found = Findings(
        at_ms, "node-1", "testnet", 0, None, Known(Registration.model_validate_json(_json(registration_event())), T0),
        Said(Heartbeat.model_validate_json(_json(heartbeat_event())), T0 + 1_500), (), None, at_ms + 500,
        {f"p{i}": made for i, made in enumerate(decisions)},
    )  # fmt: skip
    return found._replace(**changes)


def _json(event: object) -> bytes:
    return orjson.dumps(event)


def made(eligible: bool, *codes: tuple[str, str], valid_until_ms: int = 2**52) -> Decision:
    """A decision with failing checks, (gate, code) each."""
    failing = tuple(Failing(code=code, gate=gate, since_ms=T0, observed="this", required="that") for gate, code in codes)  # type: ignore[arg-type]  # a word is a literal
    raw = decision("node-1/p0", eligible, valid_until_ms=valid_until_ms) | {"failing": [item.model_dump() for item in failing]}
    return Decision.model_validate_json(_json(raw))


def test_check_explains_every_no() -> None:
    """Each failing check comes with its condition and the contract's next action; a code not known here blocks, too."""
    found = findings(made(True), made(False, ("runtime", "runtime_unreachable"), ("policy", "moon_phase")), None)
    said = as_text(found)
    assert found.eligible is False
    for words in (
        "✓ p0  eligible", "✗ p1  not eligible", "runtime_unreachable: the runtime does not answer, for 5 s",
        "next: start or configure the runtime, rerun the probe", "moon_phase: a check that is not known here",
        "✗ p2  not eligible", "the processor has decided nothing about this profile", "boot 1, seq 1, online",
    ):  # fmt: skip
        assert words in said


def test_check_explains_what_no_decision_says() -> None:
    """A key that is not registered, heartbeats that were refused, a grant that ran out, a view that cannot be acted on."""
    said_at = (("unauthorized", T0 + 1_000), ("unauthorized", T0 + 4_000), ("brand_new", T0))
    letters = tuple(Letter(topic=HEARTBEATS, code=code, logged_at_ms=at_ms) for code, at_ms in said_at)
    said = as_text(findings(made(True, valid_until_ms=T0), own_keyid="ab" * 32, refused=letters))
    assert "the registration does not list this key" in said
    assert said.count("unauthorized: a heartbeat logged 1 s ago") == 1
    assert "brand_new" in said
    assert "grant_expired" in said
    blind = findings(made(True), blind=RouteRefusal.PROCESSOR_LAG)
    assert blind.eligible is False
    assert "processor_lag: the view is older than the bound" in as_text(blind)
    nothing = as_text(findings(None, known=None, said=None))
    assert "enrolment_missing" in nothing
    assert "next: complete managed enrolment" in nothing
    assert "heartbeat_missing" in nothing


@pytest.mark.parametrize("changes", [
    {"code": ["unauthorized"]}, {"code": "\x1b[2J"}, {"code": "x" * 1_000}, {"logged_at_ms": "now"}, {"logged_at_ms": None},
    {"topic": "holds"}, {"topic": 7},
])  # fmt: skip
def test_a_dead_letter_that_is_none_is_passed_over(changes: dict[str, Any]) -> None:
    """Where there are no access rules anybody may write there; what a newer processor says beside is no reason to."""
    letter = {"topic": HEARTBEATS, "code": "unauthorized", "logged_at_ms": T0, "later": 1}
    assert "unauthorized" == getattr(refusal_in(dead(letter)), "code", None)
    assert refusal_in(dead(letter | changes)) is None
    assert refusal_in(dead([letter])) is None


def dead(content: object) -> Record:
    """A record with this in it."""
    return Record("dead-letters", 0, 0, b"node-1", _json(content), T0, 1)
