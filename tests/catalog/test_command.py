"""The commands: keys that are shown once and kept as hashes, and mistakes that are one line and exit code 2."""

import os
import socket
import stat
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from b3iq_streams import cli, keys
from b3iq_streams.catalog import apikeys, serving
from b3iq_streams.errors import UserError
from tests.factory import TRUST, key


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, output and complaint of `catalog` with these arguments."""
    code = cli.run(["catalog", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_key_is_shown_once_and_kept_as_a_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file holds name, hash and scope, for its owner only; whoever presents the key is found."""
    file = tmp_path / "keys.json"
    code, out, _ = run(capsys, "keys", "new", "--out", file, "--name", "ada", "--model", "m/1", "--tier", "network_beta")
    made = out.strip()
    assert (0, True, 1) == (code, made.startswith("b3iq_gateway_"), len(out.splitlines()))
    assert len(made) >= len("b3iq_gateway_") + 43
    run(capsys, "keys", "new", "--out", file, "--name", "bob")
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert made.encode() not in file.read_bytes()
    ada, bob = apikeys.load(file).keys
    assert ("ada", sha256(made.encode()).hexdigest(), ("m/1",), ("network_beta",)) == tuple(ada.model_dump().values())
    assert ("bob", None, None) == (bob.name, bob.models, bob.tiers)
    assert ada.sha256 not in repr(ada)
    found = apikeys.ApiKeys(apikeys.load(file))
    assert [ada, None, None, None] == [found.find(one) for one in (made, made[:-1], made + "x", ada.sha256)]
    assert run(capsys, "keys", "list", file)[1].splitlines() == [
        "ada  models: m/1  tiers: network_beta",
        "bob  models: any  tiers: any",
    ]


def test_a_revoked_key_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the file; one that was never there is a mistake."""
    file = tmp_path / "keys.json"
    run(capsys, "keys", "new", "--out", file, "--name", "ada")
    assert (0, ()) == (run(capsys, "keys", "revoke", file, "ada")[0], apikeys.load(file).keys)
    code, _, complaint = run(capsys, "keys", "revoke", file, "ada")
    assert (2, True) == (code, "no key named ada" in complaint)


@pytest.mark.parametrize(
    ("content", "mode", "complaint"),
    [
        (b'{"keys":[]}', 0o644, "open to others"),
        (b"{", 0o600, "not a file of API keys"),
        (b'{"keys":[{"name":"a","sha256":"x"}]}', 0o600, "not a file of API keys"),
        (b'{"keys":[{"name":"a","sha256":"%b"},{"name":"a","sha256":"%b"}]}' % (b"0" * 64, b"1" * 64), 0o600, "same name"),
        (None, 0, "No such file"),
    ],
)
def test_a_file_that_is_none_of_keys(content: bytes | None, mode: int, complaint: str, tmp_path: Path) -> None:
    """One line, and nothing is served with it."""
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    with pytest.raises(UserError, match=complaint):
        apikeys.load(file)


@pytest.mark.parametrize("name", ["", "A", "a b", "x" * 33, "../x"])
def test_a_name_that_cannot_be(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And no file is made for it."""
    code, _, complaint = run(capsys, "keys", "new", "--out", tmp_path / "keys.json", "--name", name)
    assert (2, 1, []) == (code, len(complaint.splitlines()), list(tmp_path.iterdir()))


def test_a_name_is_given_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second key of the same name would be revoked with the first."""
    arguments = ("keys", "new", "--out", tmp_path / "keys.json", "--name", "ada")
    assert [0, 2] == [run(capsys, *arguments)[0] for _ in range(2)]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A trust file, a router key and a file of API keys."""
    (tmp_path / "trust.json").write_bytes(orjson.dumps(TRUST.model_dump(mode="json")))
    keys.save(key("router"), tmp_path / "router.json")
    apikeys.save(apikeys.KeyFile(), tmp_path / "keys.json")
    return tmp_path


ROUTING = ("--router-key", "router.json", "--api-keys", "keys.json")
SECRET = "B3IQ_CALLER_SECRET"
KAFKA = ("--bootstrap", "127.0.0.1:1", "--wait", "0.2", "--port", "0")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--trust", "trust.json"), "--bootstrap is missing"),
        ((*KAFKA,), "--trust is missing"),
        ((*KAFKA, "--trust", "nothing.json"), "nothing.json: No such file"),
        ((*KAFKA, "--trust", "trust.json"), "no Kafka broker answers"),
        (("serve", *KAFKA, "--trust", "trust.json"), "no Kafka broker answers"),
        ((*KAFKA, "--trust", "trust.json", "--port", "70000"), "70000 is not in the range"),
        ((*KAFKA, "--trust", "trust.json", "--nonsense"), "No such option"),
        ((*KAFKA, "--trust", "trust.json", "nonsense"), "unexpected extra argument"),
        ((*KAFKA, "--trust", "trust.json", "--host", "no.such.host.invalid"), "cannot listen on no.such.host.invalid"),
        ((*KAFKA, "--trust", "trust.json", "--host", "8.8.8.8"), "cannot listen on 8.8.8.8"),
        ((*KAFKA, "--trust", "trust.json", "--router-key", "router.json"), "both --router-key and --api-keys"),
        ((*KAFKA, "--trust", "trust.json", "--api-keys", "keys.json"), "both --router-key and --api-keys"),
        ((*KAFKA, "--trust", "trust.json", *ROUTING[:3], "none.json"), "API key file none.json"),
        ((*KAFKA, "--trust", "trust.json", *ROUTING[2:], "--router-key", "keys.json"), "is not a key file"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, ...], complaint: str, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And exit code 2."""
    monkeypatch.chdir(world)
    monkeypatch.delenv("B3IQ_BOOTSTRAP", raising=False)
    monkeypatch.delenv("B3IQ_TRUST", raising=False)
    monkeypatch.setenv(SECRET, "a secret of enough bytes")
    code, out, said = run(capsys, *arguments)
    assert (2, "", 1) == (code, out, len(said.splitlines()))
    assert complaint in said


@pytest.mark.parametrize(
    ("secret", "complaint"), [(None, "is not set"), ("", "is not set"), ("short", "must have 16 to 64 bytes")]
)
def test_a_secret_that_is_none(
    secret: str | None, complaint: str, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It comes from the environment, where no other user sees it; one line without it, exit code 2."""
    monkeypatch.chdir(world)
    monkeypatch.delenv(SECRET, raising=False)
    if secret is not None:
        monkeypatch.setenv(SECRET, secret)
    code, _, said = run(capsys, *KAFKA, "--trust", "trust.json", *ROUTING)
    assert (2, 1) == (code, len(said.splitlines()))
    assert f"{SECRET} {complaint}" in said


def test_a_port_in_use_is_a_mistake(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Found before anything else is tried."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, out, said = run(capsys, "--bootstrap", "127.0.0.1:1", "--trust", world / "trust.json", "--port", port)
    assert (2, "", 1) == (code, out, len(said.splitlines()))
    assert f"cannot listen on 127.0.0.1:{port}: {os.strerror(98)}" in said


def test_help_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The group names its commands, `serve` its flags."""
    assert {"serve", "keys"} <= set(run(capsys, "--help")[1].split())
    assert "--readers-max" in run(capsys, "serve", "--help")[1]
    assert "revoke" in run(capsys, "keys", "--help")[1]


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "http://127.0.0.1:"), ("localhost", "http://"), ("::1", "http://[::1]:")]
)
def test_addresses_are_ones_to_click_on(host: str, address: str) -> None:
    """Whatever family they are of."""
    with serving.listen(host, 0) as listening:
        assert serving.address_of(listening).startswith(address)
