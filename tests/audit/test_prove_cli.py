"""`audit prove` and `audit check-bundle` as commands: files, exit codes, words."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from b3iq_schemas import topics
from b3iq_streams.audit import options
from b3iq_streams.cli import run
from tests.audit.lab import MemoryOrigin, busy_lab
from tests.factory import T0, TRUST

LAB = busy_lab()
AT = ("--from", str(T0 + 60_000), "--to", str(T0 + 120_000))


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with trust files, in which the busy network's log is what every source is."""
    for name in [name for name in os.environ if name.startswith("B3IQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Path("trust.json").write_text(TRUST.model_dump_json())
    Path("other.json").write_text(TRUST.model_copy(update={"network": "other"}).model_dump_json())
    monkeypatch.setenv("B3IQ_TRUST", "trust.json")
    monkeypatch.setattr(options, "_origin", lambda *_: LAB.origin)
    return tmp_path


def test_a_host_can_check_what_it_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    """Written to a file with the reasons on the screen; checked from the file as text and as JSON."""
    assert 0 == run(["audit", "prove", "node-3", *AT, "--out", "bundle.json"])
    out, err = capsys.readouterr()
    assert "" == err
    assert f"bundle.json: {Path('bundle.json').stat().st_size:,} bytes\nverified: node-3" in out
    assert 0 == run(["audit", "check-bundle", "bundle.json"])
    said = capsys.readouterr().out
    assert out.partition("\n")[2] == said
    assert "ask the operator who holds it" in said
    assert 0 == run(["audit", "check-bundle", "bundle.json", "--json"])
    assert orjson.loads(capsys.readouterr().out)["verified"] is True


def test_without_a_file_it_goes_to_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Nothing but the bundle, the same bytes as in a file."""
    assert 0 == run(["audit", "prove", "node-3", *AT, "--operator"])
    out, err = capfdbinary.readouterr()
    assert b"" == err
    assert 0 == run(["audit", "prove", "node-3", *AT, "--operator", "--out", "bundle.json"])
    assert Path("bundle.json").read_bytes() == out


def test_an_altered_bundle_is_exit_code_one(capsys: pytest.CaptureFixture[str]) -> None:
    """The first difference is named, in text and in JSON."""
    assert 0 == run(["audit", "prove", "node-3", *AT, "--out", "bundle.json"])
    raw = Path("bundle.json").read_bytes()
    Path("bundle.json").write_bytes(raw.replace(b'"eligible_ms":', b'"eligible_ms":1', 1))
    capsys.readouterr()
    assert 1 == run(["audit", "check-bundle", "bundle.json"])
    assert capsys.readouterr().out.startswith("NOT VERIFIED: node-3 of testnet")
    assert 1 == run(["audit", "check-bundle", "bundle.json", "--json"])
    assert "summary" == orjson.loads(capsys.readouterr().out)["mismatch"]["part"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("prove", "Missing argument 'NODE'"),
        ("prove no/node", "is not an id"),
        ("prove node-3 --from 2027-01-15", "has no zone"),
        ("prove node-3 --from 2027-01-15T09:00Z --to 2027-01-15T08:00Z", "is after --to"),
        ("prove node-3 --from 2028-01-15T09:00Z", "resolved no epoch"),
        ("prove node-3 --out nowhere/bundle.json", "No such file"),
        ("check-bundle", "Missing argument 'FILE'"),
        ("check-bundle absent.json", "bundle absent.json: No such file"),
        ("check-bundle .", "Is a directory"),
        ("check-bundle trust.json", "not a bundle: format: Field required"),
        ("check-bundle bundle.json --trust other.json", "the trust file is for other"),
        ("check-bundle bundle.json --trust absent.json", "trust file absent.json"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each names what is wrong, and prints nothing else."""
    assert 0 == run(["audit", "prove", "node-3", *AT, "--out", "bundle.json"])
    capsys.readouterr()
    assert 2 == run(["audit", *arguments.split()])
    out, err = capsys.readouterr()
    assert ("", 1) == (out, err.count("\n"))
    assert said in err


def test_expired_evidence_is_exit_code_three(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The earliest moment is named."""
    records = {place: log[len(log) // 2 :] if place.topic == topics.HEARTBEATS else log for place, log in LAB.records.items()}
    monkeypatch.setattr(options, "_origin", lambda *_: MemoryOrigin(records, 2))
    assert 3 == run(["audit", "prove", "node-3"])
    out, err = capsys.readouterr()
    assert "" == out
    assert "evidence expired" in err
    assert "the earliest time that can be answered is 2027-01-15T08:0" in err


def test_a_check_asks_no_broker(workplace: Path) -> None:
    """As a program of its own, with nothing but the two files: the same in every process, whatever its hashes."""
    assert 0 == run(["audit", "prove", "node-3", *AT, "--out", "bundle.json"])
    code = "import sys\nfor name in ('confluent_kafka', 'pyarrow', 'duckdb', 'faust'): sys.modules[name] = None\n"
    code += "from b3iq_streams.cli import run; sys.exit(run(['audit', 'check-bundle', 'bundle.json', '--json']))"
    said = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "B3IQ_TRUST": "trust.json"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
        assert (b"", 0) == (done.stderr, done.returncode)
        said.add(done.stdout)
    assert 1 == len(said)
