"""`node` on the command line: every wrong flag, file, address and key is one line and exit code 2, before anything is sent."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from nacl.pwhash import argon2id
from nacl.signing import SigningKey

from b3iq_schemas.events import PROFILES_MAX
from b3iq_schemas.topics import TOPICS
from b3iq_streams import keys, sealing
from b3iq_streams.cli import EXTRAS, run
from b3iq_streams.embedded import EmbeddedBroker
from b3iq_streams.node import inventory as inventories
from b3iq_streams.node.agent import Agent
from b3iq_streams.node.instance import sole_instance
from b3iq_streams.world import World
from tests.node.runtimes import VLLM, inventory_text, serving

URL = "http://127.0.0.1:9"
KAFKA = "--bootstrap 127.0.0.1:9 --wait 0.3"
GOOD = inventory_text(URL)
INVENTORIES = {
    "good.toml": GOOD,
    "empty.toml": "",
    "nottoml.toml": "this is not",
    "date.toml": GOOD + "when = 2026-01-01\n",
    "extra.toml": GOOD + "surprise = 1\n",
    "twice.toml": GOOD + GOOD[GOOD.index("\n[[profiles]]") :],
    "noruntime.toml": inventory_text(URL, runtime="other"),
    "kind.toml": inventory_text(URL, kind="tensorrt"),
    "credentials.toml": inventory_text("http://user:password@127.0.0.1:9"),
    "scheme.toml": inventory_text("file:///etc/passwd"),
    "port.toml": inventory_text("http://[::1]:99999"),
    "bracket.toml": inventory_text("http://[::1"),
    "nohost.toml": inventory_text("http://:8000"),
    "zerotoken.toml": inventory_text(URL, more='token_file = "a\\u0000b"'),
    "longtoken.toml": inventory_text(URL, more='token_file = "longtoken"'),
    "queue.toml": inventory_text(URL, kind="ollama", more="queue_blocked_at = 3"),
    "price.toml": inventory_text(URL, price_wei_per_mtok=5),
    "context.toml": inventory_text(URL, context_tokens_max=0),
    "order.toml": inventory_text(URL, more="queue_degraded_at = 9\nqueue_blocked_at = 9"),
    "path.toml": inventory_text(URL, model_id="home/me/models/qwen.gguf"),
    "token.toml": inventory_text(URL, model_id="b3iq_local_abc"),
    "upper.toml": inventory_text(URL, network="NET"),
    "opentoken.toml": inventory_text(URL, more='token_file = "open"'),
    "notoken.toml": inventory_text(URL, more='token_file = "absent"'),
    "many.toml": GOOD + "".join(
        "\n[[profiles]]" + inventory_text(URL, profile_id=f"q{i}").split("[[profiles]]")[1] for i in range(PROFILES_MAX)
    ),
    "large.toml": GOOD + f"# {'x' * inventories.FILE_BYTES_MAX}\n",
    "digits.toml": inventory_text(URL).replace("131072", "1" * 5_000),
    "deep.toml": "a = " + "[" * 50_000 + "\n",
}  # fmt: skip
WRONG = (
    ("node", "Missing command"),
    ("node destroy", "No such command"),
    ("node run", "--inventory"),
    (f"node run --inventory good.toml {KAFKA}", "--key"),
    ("node run --inventory good.toml --key key.json", "--bootstrap is missing"),
    (f"node run --inventory absent.toml --key key.json {KAFKA}", "inventory absent.toml: No such file"),
    (f"node run --inventory directory --key key.json {KAFKA}", "Is a directory"),
    (f"node run --inventory binary --key key.json {KAFKA}", "is not TOML"),
    (f"node run --inventory empty.toml --key key.json {KAFKA}", "network: Field required"),
    (f"node run --inventory nottoml.toml --key key.json {KAFKA}", "is not TOML"),
    (f"node run --inventory date.toml --key key.json {KAFKA}", "profiles.0.when"),
    (f"node run --inventory extra.toml --key key.json {KAFKA}", "profiles.0.surprise"),
    (f"node run --inventory twice.toml --key key.json {KAFKA}", "a profile is listed twice"),
    (f"node run --inventory many.toml --key key.json {KAFKA}", "profiles: Tuple should have at most 64 items"),
    (f"node run --inventory large.toml --key key.json {KAFKA}", "inventory large.toml is larger than 262144 bytes"),
    (f"node run --inventory digits.toml --key key.json {KAFKA}", "is not TOML"),
    (f"node run --inventory deep.toml --key key.json {KAFKA}", "is not TOML"),
    (f"node run --inventory opentoken.toml --key key.json {KAFKA}", "chmod 600 open"),
    (f"node run --inventory notoken.toml --key key.json {KAFKA}", "token file absent"),
    (f"node run --inventory zerotoken.toml --key key.json {KAFKA}", "token file a"),
    (f"node run --inventory longtoken.toml --key key.json {KAFKA}", "token file longtoken is larger than 4096 bytes"),
    (f"node run --inventory good.toml --key absent.json {KAFKA}", "key file absent.json"),
    (f"node run --inventory good.toml --key open {KAFKA}", "chmod 600 open"),
    (f"node run --inventory good.toml --key good.toml {KAFKA}", "open to others"),
    (f"node run --inventory good.toml --key sealed.json {KAFKA}", "needs a passphrase: set B3IQ_KEY_PASSPHRASE_FILE"),
    (f"node run --inventory good.toml --key key.json --interval 0 {KAFKA}", "--interval"),
    (f"node run --inventory good.toml --key key.json --interval often {KAFKA}", "--interval"),
    (f"node run --inventory good.toml --key key.json --drain -1 {KAFKA}", "--drain"),
    (f"node run --inventory good.toml --key key.json --probe-timeout 0 {KAFKA}", "--probe-timeout"),
    (f"node run --inventory good.toml --key key.json --state key.json {KAFKA}", "state directory"),
    (f"node run --inventory good.toml --key key.json --state damaged {KAFKA}", "is damaged"),
    ("node run --inventory good.toml --key key.json --bootstrap nonsense", "expected host:port"),
    ("node probe", "--inventory"),
    *((f"node probe --inventory {name}.toml", said) for name, said in {
        "noruntime": "names a runtime that is not listed", "kind": "runtimes.main.kind", "credentials": "runtimes.main.url",
        "scheme": "runtimes.main.url", "queue": "only vllm and sglang", "price": "price_wei_per_mtok",
        "context": "context_tokens_max",
        "order": "queue_degraded_at must be below queue_blocked_at", 
        "port": "runtimes.main.url", "bracket": "runtimes.main.url", "nohost": "runtimes.main.url",
        "path": "an address or a path", "token": "looks like a token", "upper": "network",
    }.items()),
    ("node check --inventory good.toml", "is missing"),
    ("node check --inventory good.toml --trust absent --bootstrap 127.0.0.1:9", "trust file absent"),
    ("node check --inventory good.toml --trust trust.json --bootstrap 127.0.0.1:9", "testnet, the trust file of other"),
    ("node rotate --inventory good.toml --key key.json --finish --trust trust.json --bootstrap 127.0.0.1:9", "file of other"),
    ("node rotate --inventory good.toml --key absent.json", "key file absent.json"),
    ("node rotate --inventory good.toml --key key.json --finish", "--bootstrap is missing"),
    ("node rotate --inventory good.toml --key key.json --finish --bootstrap 127.0.0.1:9", "--trust is missing"),
)  # fmt: skip


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed key, at the lowest price that opening accepts: what a guess costs is held elsewhere."""
    path = tmp_path_factory.mktemp("keys") / "sealed.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "OPS", argon2id.OPSLIMIT_MIN)
        patch.setattr(sealing, "MEMORY_BYTES", argon2id.MEMLIMIT_MIN)
        keys.save(SigningKey(bytes(32)), path, b"correct horse battery")
    return path


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealed: Path) -> Path:
    """A directory with a good inventory, bad ones, and keys; an agent that gets as far as its broker fails the test."""

    async def reached(*_: object) -> bool:
        raise AssertionError("it went on to the broker")

    monkeypatch.setattr(Agent, "run", reached)
    for name in [name for name in os.environ if name.startswith("B3IQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    for name, text in INVENTORIES.items():
        Path(name).write_text(text)
    keys.save(SigningKey(bytes(32)), Path("key.json"))
    shutil.copy(sealed, "sealed.json")
    Path("longtoken").touch(0o600)
    Path("longtoken").write_text("t" * 5_000)
    Path("trust.json").write_text(World.generate("other").trust.model_dump_json())
    Path("open").write_text("secret")
    Path("open").chmod(0o644)
    Path("binary").write_bytes(bytes(range(256)))
    Path("directory").mkdir()
    damaged = Path("damaged/testnet/node-1")
    damaged.mkdir(parents=True)
    (damaged / "sequence.json").write_text("{")
    return tmp_path


def one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, nothing printed, one line that says this."""
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("b3iq-streams: ")
    assert err.count("\n") == 1
    assert said in err


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=[arguments for arguments, _ in WRONG])
def test_a_mistake_is_one_line_and_exit_code_two(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each wrong command line names what is wrong, on one line, and prints nothing else."""
    one_line(arguments.split(), said, capsys)


def test_a_wrong_passphrase_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not told which part was wrong, and what was tried is not repeated."""
    monkeypatch.setenv("B3IQ_KEY_PASSPHRASE", "not the passphrase")
    arguments = f"node run --inventory good.toml --key sealed.json {KAFKA}".split()
    one_line(arguments, "wrong passphrase, or the file was changed", capsys)


def test_probe_tells_what_is_served(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 when everything is installed, else 1, with the reason; JSON on demand; no key and no broker needed."""
    with serving(VLLM) as served:
        Path("i.toml").write_text(inventory_text(served.url))
        assert run(["node", "probe", "--inventory", "i.toml"]) == 0
        assert capsys.readouterr().out == "p0  installed, runtime reachable, queue healthy, context 65536\n"
        assert run(["node", "probe", "--inventory", "i.toml", "--json"]) == 0
        assert orjson.loads(capsys.readouterr().out)["status"] == "installed"
    assert run(["node", "probe", "--inventory", "i.toml"]) == 1
    assert "nothing listens there" in capsys.readouterr().out


def test_no_key_in_any_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails, with debugging on, neither seed nor passphrase is printed, nor are they in the list of arguments."""
    monkeypatch.setenv("B3IQ_DEBUG", "1")
    monkeypatch.setenv("B3IQ_KEY_PASSPHRASE", "correct horse battery")
    content = orjson.loads(Path("key.json").read_bytes())
    Path("key.json").write_bytes(orjson.dumps(content | {"keyid": "z" * 64}))
    for key in ("key.json", "sealed.json"):
        command = [sys.executable, "-m", "b3iq_streams.cli", "node", "rotate", "--inventory", "good.toml", "--key", key]
        done = subprocess.run([*command, "--finish", *KAFKA.split()[:2]], capture_output=True, text=True, check=False)
        begun = subprocess.run(command, capture_output=True, text=True, check=False)
        for said in (done.stdout, done.stderr, begun.stdout, begun.stderr):
            assert content["secret_seed"] not in said
            assert "battery" not in said


def test_a_second_agent_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """While one agent has the identity, another is told so, whatever else is right."""
    with sole_instance(Path("state"), "testnet", "node-1"):
        arguments = f"node run --inventory good.toml --key key.json --state state {KAFKA}".split()
        one_line(arguments, "another agent runs with the identity node-1", capsys)


def test_it_runs_without_any_extra() -> None:
    """A host installs the base package: whatever the extras bring is not imported by any `node` command."""
    script = f"""
import sys
sys.modules.update(dict.fromkeys({sorted(EXTRAS)!r}))
from b3iq_streams.cli import EXTRAS, run
assert run(["node", "run", "--help"]) == run(["node", "probe", "--inventory", "good.toml"]) - 1 == 0
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


def test_it_runs_on_the_embedded_broker() -> None:
    """Relaxed, against a broker that stamps nothing: heartbeats are acknowledged, nothing is said of clocks. The first signal
    begins an hour of draining, the second ends it, with `offline` acknowledged. Logs are JSON, without local addresses."""
    with serving(VLLM) as served, EmbeddedBroker(TOPICS) as broker:
        Path("i.toml").write_text(inventory_text(served.url))
        command = [sys.executable, "-m", "b3iq_streams.cli", "node", "run", "--inventory", "i.toml", "--key", "key.json"]
        pace = ["--interval", "0.2", "--drain", "3600", "--relaxed", "--log-level", "debug", "--log-format", "json"]
        arguments = [*command, *pace, "--bootstrap", broker.bootstrap]
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as agent:
            assert agent.stderr is not None
            said, signals = [], [("seq 3 online", signal.SIGINT), ("draining", signal.SIGTERM)]
            for line in agent.stderr:
                said.append(orjson.loads(line))
                if signals and said[-1]["event"].endswith(signals[0][0]):
                    agent.send_signal(signals.pop(0)[1])  # each once: a third would kill it
    assert 0 == agent.returncode, said
    assert ("info", "offline") == (said[-1]["level"], said[-1]["event"])
    assert "profile p0: installed, queue healthy" in [line["event"] for line in said]
    assert [] == [line for line in said if "clock" in line["event"] or served.url in line["event"]]
