"""The command line: every mistake is one line on stderr and exit code 2, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from nacl.signing import SigningKey

from b3iq_streams import cli, keys
from b3iq_streams.cli import COMMANDS, Entry, LazyGroup, explain, run
from b3iq_streams.world import World

NOBODY = ("--bootstrap", "127.0.0.1:9", "--wait", "0.3")
WORLD = World.generate(seed=b"cli")


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a key, a trust file, and files that are wrong in one way each; no settings in the environment."""
    for name in [name for name in os.environ if name.startswith("B3IQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    keys.save(SigningKey(bytes(32)), Path("key.json"))
    content = orjson.loads(Path("key.json").read_bytes())
    for name, wrong in {
        "noseed.json": {"public_key": content["public_key"]},
        "torn.json": content | {"secret_seed": "11" * 32},
        "float.json": content | {"keyid": 1.5},
    }.items():
        Path(name).touch(0o600)
        Path(name).write_bytes(orjson.dumps(wrong))
    Path("open.json").write_bytes(Path("key.json").read_bytes())
    Path("open.json").chmod(0o644)
    Path("empty.json").touch(0o600)
    Path("binary").write_bytes(bytes(range(256)))
    Path("trust.json").write_text(WORLD.trust.model_dump_json())
    Path("empty-trust.json").write_text("{}")
    Path("directory").mkdir()
    return tmp_path


WRONG: tuple[tuple[str, str], ...] = (
    ("", "Missing command"),
    ("frobnicate", "No such command 'frobnicate'"),
    ("--frobnicate", "No such option"),
    ("topics", "Missing command"),
    ("topics destroy", "No such command"),
    ("topics check", "--bootstrap is missing"),
    ("topics check --bootstrap nonsense", "expected host:port"),
    ("topics check --bootstrap kafka:99999", "expected host:port"),
    ("topics check --bootstrap kafka..net:9092", "expected host:port"),
    ("topics check --bootstrap [::1:9092", "expected host:port"),
    ("topics check --bootstrap 127.0.0.1:9 --wait 0", "--wait"),
    ("topics check --bootstrap 127.0.0.1:9 --wait soon", "--wait"),
    ("topics check --bootstrap 127.0.0.1:9 --wait 0.3", "no Kafka broker answers at 127.0.0.1:9"),
    ("topics apply --bootstrap 127.0.0.1:9 --wait 0.3", "no Kafka broker answers at 127.0.0.1:9"),
    ("topics apply --bootstrap no-such-host.invalid:9092 --wait 0.3", "no Kafka broker answers"),
    ("topics apply --partitions 0 --bootstrap 127.0.0.1:9", "--partitions"),
    ("topics apply --partitions many --bootstrap 127.0.0.1:9", "--partitions"),
    ("keys new --out key.json", "exists already"),
    ("keys new --out nowhere/key.json", "No such file or directory"),
    ("keys new extra", "unexpected extra argument"),
    ("keys show", "Missing argument"),
    ("keys show absent.json", "absent.json: No such file or directory"),
    ("keys show directory", "Is a directory"),
    ("keys show open.json", "chmod 600"),
    ("keys show empty.json", "is not a key file"),
    ("keys show noseed.json", "is not a key file: keyid: Field required"),
    ("keys show torn.json", "contradicts itself"),
    ("keys show float.json", "is not a key file: keyid"),
    ("policy new", "--network"),
    ("policy new --network UPPER", "network"),
    ("policy new --network net --revision 0", "--revision"),
    ("policy new --network net --role processor", "ROLE=HEX"),
    ("policy new --network net --role janitor=00", "ROLE=HEX"),
    ("policy new --network net --role processor=xyz", "roles.processor"),
    ("policy trust --network net --root 00 --threshold 1", "roots"),
    ("policy sign absent.json --key key.json", "absent.json: No such file"),
    ("policy sign binary --key key.json", "binary: not JSON"),
    ("policy sign trust.json --key key.json", "trust.json: not a policy"),
    ("policy sign trust.json --key absent.json", "key file absent.json"),
    ("policy sign trust.json", "--key"),
    ("policy publish trust.json", "--trust is missing"),
    ("policy publish trust.json --trust trust.json", "--bootstrap is missing"),
    ("policy publish trust.json --trust absent.json --bootstrap 127.0.0.1:9", "trust file absent.json"),
    ("policy publish trust.json --trust empty-trust.json --bootstrap 127.0.0.1:9", "is not a trust file"),
    ("policy publish absent.json --trust trust.json --bootstrap 127.0.0.1:9", "envelope absent.json"),
    ("policy show --trust trust.json --bootstrap 127.0.0.1:9 --wait 0.3", "no Kafka broker answers"),
    ("emit", "Choose from: heartbeat"),
    ("emit gossip --key key.json --bootstrap 127.0.0.1:9", "'gossip' is not one of"),
    ("emit hold --bootstrap 127.0.0.1:9", "--key"),
    ("emit hold absent.jsonl --key key.json --bootstrap 127.0.0.1:9", "absent.jsonl: No such file"),
    ("emit hold binary --key key.json --bootstrap 127.0.0.1:9 --wait 0.3", "no Kafka broker answers"),
    ("emit hold directory --key key.json --bootstrap 127.0.0.1:9", "Is a directory"),
    ("codes nonsense", "no code 'nonsense' is known"),
    ("schemas export trust.json", "is a file"),
    ("fleet --bootstrap 127.0.0.1:9", "--keys DIR or --dev-world DIR"),
    ("fleet --keys a --dev-world b --bootstrap 127.0.0.1:9", "--keys DIR or --dev-world DIR"),
    ("fleet --keys directory --bootstrap 127.0.0.1:9", "world.json: No such file"),
    ("fleet --dev-world . --bootstrap 127.0.0.1:9", "is not empty"),
    ("fleet --nodes 0 --bootstrap 127.0.0.1:9", "--nodes"),
    ("fleet --scenario doom --bootstrap 127.0.0.1:9", "--scenario"),
    ("fleet --rate nan --dev-world w --bootstrap 127.0.0.1:9", "--rate"),
    ("fleet --seconds -1 --dev-world w --bootstrap 127.0.0.1:9", "--seconds"),
)


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=[arguments or "nothing" for arguments, _ in WRONG])
def test_a_mistake_is_one_line_and_exit_code_two(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each wrong command line names what is wrong, on one line, and prints nothing else."""
    assert run(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("b3iq-streams: ")
    assert err.count("\n") == 1
    assert said in err


def test_it_runs_as_a_program() -> None:
    """The module run as a program behaves as the function does, exit code included."""
    done = program("topics", "check", *NOBODY)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_help_imports_no_command() -> None:
    """`--help` works whatever is installed: it shows the table and imports none of its modules."""
    code = "import sys; from b3iq_streams.cli import run; run(['--help']); print([m for m in sys.modules if m in %r])"
    heavy = ["faust", "aiokafka", "confluent_kafka", "rich", "nacl", "b3iq_streams.cli_keys"]
    done = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in COMMANDS)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("package", "extra"), [("faust.app", "processor"), ("rich", "demo"), ("confluent_kafka", "demo")])
def test_a_missing_package_names_the_extra(package: str, extra: str) -> None:
    """Who lacks an extra is told which one to install."""
    said = explain(ModuleNotFoundError(f"No module named {package!r}", name=package))
    assert said is not None
    assert f"pip install 'b3iq-streams[{extra}]'" in said


def test_a_command_whose_import_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that cannot be imported is a mistake of one line as well."""
    monkeypatch.setattr(cli, "cli", LazyGroup({"gone": Entry("b3iq_streams.gone.command:command", "…")}, name="b3iq-streams"))
    assert run(["gone"]) == 2
    assert capsys.readouterr().err == "b3iq-streams: this installation lacks the module b3iq_streams.gone\n"


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (RuntimeError("two\nlines"), 1), (OSError(28, "No space left", "f"), 2)]
)
def test_how_other_endings_are_told(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C is silent; a bug is one line and its own exit code; a full disk is a mistake of the world."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(LazyGroup, "get_command", fail)
    assert run(["codes"]) == code
    assert capsys.readouterr().err.count("\n") == (0 if code == 130 else 1)


def test_a_closed_pipe_is_quiet() -> None:
    """`b3iq-streams codes | head -1` prints one line and no complaint."""
    command = f'"{sys.executable}" -m b3iq_streams.cli codes | head -1'
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_codes_explains(capsys: pytest.CaptureFixture[str]) -> None:
    """A code that is used in two places is explained for both."""
    assert run(["codes", "unauthorized"]) == 0
    out = capsys.readouterr().out
    assert "record refused" in out
    assert "HTTP 401" in out


def program(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line as a program of its own."""
    return subprocess.run([sys.executable, "-m", "b3iq_streams.cli", *arguments], capture_output=True, text=True, check=False)
