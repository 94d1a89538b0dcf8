"""Key files: written once, for one's own eyes, and refused when anything about them is off."""

import stat
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from b3iq_schemas.envelope import pae, verify
from b3iq_schemas.events import POSSESSION_V1, possession_payload
from b3iq_streams import keys
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


def test_possession_is_proven() -> None:
    """The proof verifies over the claim of this network, this node, this key, and over nothing else."""
    key = SigningKey.generate()
    public, proof = bytes(key.verify_key), bytes.fromhex(keys.possession(key, "n", "node-1")["proof"])
    assert verify(public, pae(POSSESSION_V1, possession_payload("n", "node-1", public)), proof)
    assert not verify(public, pae(POSSESSION_V1, possession_payload("n", "node-2", public)), proof)
