"""Key files: written once, for one's own eyes, and refused when anything about them is off."""

import os
import stat
from pathlib import Path

import orjson
import pytest
from nacl.pwhash import argon2id
from nacl.signing import SigningKey

from b3iq_schemas.envelope import pae, verify
from b3iq_schemas.events import POSSESSION_V1, possession_payload
from b3iq_streams import keys, passphrases
from b3iq_streams.cli import run
from b3iq_streams.errors import UserError


def test_a_key_survives_its_file(tmp_path: Path) -> None:
    """What is loaded is what was saved, and only the owner may read it."""
    path, key = tmp_path / "k.json", SigningKey.generate()
    keys.save(key, path)
    assert bytes(keys.load(path)) == bytes(key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """A second save to the same place fails and leaves the first as it is."""
    path, key = tmp_path / "k.json", SigningKey.generate()
    keys.save(key, path)
    with pytest.raises(UserError, match="never overwritten"):
        keys.save(SigningKey.generate(), path)
    assert bytes(keys.load(path)) == bytes(key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_open_to_others_is_refused(mode: int, tmp_path: Path) -> None:
    """A key that others may read is not a secret, and is not used."""
    path = tmp_path / "k.json"
    keys.save(SigningKey.generate(), path)
    path.chmod(mode)
    with pytest.raises(UserError, match="open to others"):
        keys.load(path)


def test_the_commands_never_print_the_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`new`, `show` and `prove` print public things only."""
    path = tmp_path / "k.json"
    assert run(["keys", "new", "--out", str(path)]) == 0
    assert run(["keys", "show", str(path)]) == 0
    assert run(["keys", "prove", str(path), "--network", "n", "--node", "node-1"]) == 0
    out = capsys.readouterr().out
    key = keys.load(path)
    assert bytes(key).hex() not in out
    assert keys.public_hex(key) in out


def test_a_disk_that_takes_nothing_leaves_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and nothing that the next try would refuse to replace."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        keys.save(SigningKey.generate(), tmp_path / "k.json")
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [("bad net!", "node-1"), ("n", "")])
def test_no_proof_for_what_is_no_id(wrong: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A proof that no registration could use is refused in one line."""
    keys.save(SigningKey.generate(), tmp_path / "k.json")
    assert 2 == run(["keys", "prove", str(tmp_path / "k.json"), "--network", wrong[0], "--node", wrong[1]])
    said = capsys.readouterr()
    assert ("", 1) == (said.out, said.err.count("\n"))


def test_possession_is_proven() -> None:
    """The proof verifies over the claim of this network, this node, this key, and over nothing else."""
    key = SigningKey.generate()
    public, proof = bytes(key.verify_key), bytes.fromhex(keys.possession(key, "n", "node-1")["proof"])
    assert verify(public, pae(POSSESSION_V1, possession_payload("n", "node-1", public)), proof)
    assert not verify(public, pae(POSSESSION_V1, possession_payload("n", "node-2", public)), proof)


PHRASE = "correct horse battery"


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key file made with `--encrypt`, and the environment without its passphrase."""
    path = tmp_path / "sealed.json"
    monkeypatch.delenv(passphrases.FILE_VARIABLE, raising=False)
    monkeypatch.setenv(passphrases.VARIABLE, PHRASE)
    assert run(["keys", "new", "--encrypt", "--out", str(path)]) == 0
    monkeypatch.delenv(passphrases.VARIABLE)
    return path


def test_a_sealed_key_opens_with_its_passphrase_only(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment or from a private file, which wins; not with another, and not without one."""
    content = orjson.loads(sealed.read_bytes())
    assert {"public_key", "keyid", "sealed_seed"} == set(content)
    price = [content["sealed_seed"][name] for name in ("kdf", "ops", "memory_bytes")]
    assert ["argon2id", argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE] == price
    with pytest.raises(UserError, match="needs a passphrase"):
        keys.load(sealed)
    monkeypatch.setenv(passphrases.VARIABLE, PHRASE)
    assert content["public_key"] == keys.public_hex(keys.load(sealed))
    phrase = sealed.with_name("phrase")
    phrase.touch(0o600)
    phrase.write_text("something else\n")
    monkeypatch.setenv(passphrases.FILE_VARIABLE, str(phrase))
    with pytest.raises(UserError, match="wrong passphrase"):
        keys.load(sealed)
    phrase.write_text(PHRASE + "\n")
    keys.load(sealed)
    phrase.chmod(0o640)
    with pytest.raises(UserError, match=r"passphrase file .* is open to others"):
        keys.load(sealed)


def test_every_command_opens_a_sealed_key(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What loads key files asks for the passphrase in one place, so `show` and `prove` take sealed ones as they are."""
    monkeypatch.setenv(passphrases.VARIABLE, PHRASE)
    assert run(["keys", "show", str(sealed)]) == 0
    assert run(["keys", "prove", str(sealed), "--network", "n", "--node", "node-1"]) == 0
    out = capsys.readouterr().out
    assert PHRASE not in out
    assert bytes(keys.load(sealed)).hex() not in out


def test_a_sealed_file_that_was_changed_is_refused(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flipped bit in the box, another public key, or an appetite for memory: refused, each in one line."""
    monkeypatch.setenv(passphrases.VARIABLE, PHRASE)
    content = orjson.loads(sealed.read_bytes())
    box = content["sealed_seed"]["box"]
    other = keys.public_hex(SigningKey.generate())
    for changed, said in (
        (
            content | {"sealed_seed": content["sealed_seed"] | {"box": box[:-1] + ("0" if box[-1] != "0" else "1")}},
            "wrong passphrase",
        ),
        (content | {"public_key": other}, "contradicts itself"),
        (content | {"sealed_seed": content["sealed_seed"] | {"memory_bytes": 1 << 40}}, "is not a key file"),
        (content | {"sealed_seed": content["sealed_seed"] | {"kdf": "scrypt"}}, "is not a key file"),
    ):
        sealed.write_bytes(orjson.dumps(changed))
        with pytest.raises(UserError, match=said):
            keys.load(sealed)


@pytest.mark.parametrize("phrase", ["", "short", "x" * 2_000])
def test_a_poor_passphrase_is_refused(phrase: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new passphrase has a decent length, and no file is left behind for one that has not."""
    monkeypatch.setenv(passphrases.VARIABLE, phrase)
    assert run(["keys", "new", "--encrypt", "--out", str(tmp_path / "k.json")]) == 2
    assert [] == list(tmp_path.iterdir())
