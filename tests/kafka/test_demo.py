"""`b3iq-streams demo`, as somebody would run it: on its embedded broker, to the end or until Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from b3iq_schemas.topics import INPUTS
from b3iq_streams.clock import monotonic_ms
from b3iq_streams.fleet_kinds import assign

NODES = 20
PATIENCE_S = 150
README = Path(__file__).parents[2] / "README.md"
AUDITS = re.compile(r"<!-- run on a kept demo -->\n```bash\n(.*?)```\n", re.DOTALL)
STOP_MS = 10_000
FIELDS = {
    "broker", "nodes", "seed", "seconds", "stopped", "first_allowed_after_ms", "events", "admitted", "refused", "not_folded",
    "epochs", "changes", "refreshed", "blockers", "allowed", "refused_calls", "records", "outage", "replay_equal",
    "differences",
}  # fmt: skip


@contextmanager
def demo(directory: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """The command in a session of its own, with its temporary files in `directory`; nothing of it stays."""
    process = subprocess.Popen(
        [sys.executable, "-m", "b3iq_streams.cli", "demo", "--nodes", str(NODES), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(directory)},
    )  # fmt: skip
    try:
        with process:
            yield process
    finally:
        process.kill()
        for number in workers(directory):
            os.kill(number, signal.SIGKILL)


def workers(directory: Path) -> list[int]:
    """Processes that were told to use files in `directory`."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [int(line.split()[0]) for line in listed if "b3iq_streams.cli processor" in line and str(directory) in line]


def wait_for_line(process: "subprocess.Popen[str]", text: str) -> str:
    """Read progress until it says so; the line."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return line
    raise AssertionError(f"it ended without saying {text!r}")


def test_a_whole_run(tmp_path: Path) -> None:
    """One line with everything in it: every trouble is seen, the router closed and opened again, the recount is equal. What
    is kept of it can be audited as the README says."""
    with demo(tmp_path, "--seconds", "25", "--json", "--keep", str(tmp_path / "kept")) as process:
        out, progress = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out.count("\n")) == (0, 1), progress
    line: dict[str, Any] = orjson.loads(out)
    assert set(line) == FIELDS
    assert (line["replay_equal"], line["differences"], line["not_folded"], line["stopped"]) == (True, [], 0, False)
    assert line["events"]["total"] == sum(line["events"][topic] for topic in INPUTS)
    assert line["events"]["total"] == line["admitted"] + sum(line["refused"].values())
    troubles = {code for kind in assign(NODES, "all") for code in (kind.outcome, kind.refused) if code}
    assert set() == troubles - line["blockers"].keys() - line["refused"].keys()
    assert line["allowed"] > 0
    assert {"processor_lag", "unauthorized", "insufficient_balance"} <= line["refused_calls"].keys()
    assert line["outage"]["code"] == "processor_lag"
    assert 0 < line["outage"]["closed_after_ms"] < line["outage"]["reopened_after_ms"]
    assert ["kept"] == [path.name for path in tmp_path.iterdir()]
    commands = "\n".join(AUDITS.findall(README.read_text())).replace("node-47", f"node-{NODES}")
    audited = subprocess.run(
        ["bash", "-euc", commands], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert 0 == audited.returncode, audited.stdout[-2_000:] + audited.stderr
    assert audited.stdout.startswith(f"equal: {line['epochs']} epochs")
    assert f"{line['records']['routing-decisions']} decisions: " in audited.stdout
    assert "0 violation" in audited.stdout
    assert "<svg" in (tmp_path / f"node-{NODES}.html").read_text()


@pytest.mark.parametrize("moment", ["processor starts", "paid calls are served"])
def test_ctrl_c(moment: str, tmp_path: Path) -> None:
    """Ends it at any time: with its line and exit code 0, soon, and with no process and no file left. Until then the
    catalog's page is where the demo says."""
    with demo(tmp_path, "--json") as process:
        address = wait_for_line(process, "the catalog and its page are on").split()[-1]
        page = httpx2.get(f"{address}/")
        assert (200, True) == (page.status_code, "<title>" in page.text)
        wait_for_line(process, moment)
        assert len(workers(tmp_path)) == 1
        process.send_signal(signal.SIGINT)
        asked_ms = monotonic_ms()
        out, progress = process.communicate(timeout=PATIENCE_S)
        took_ms = monotonic_ms() - asked_ms
        assert process.returncode == 0, progress
        assert took_ms < STOP_MS
        line = orjson.loads(out)
        assert (line["stopped"], line["outage"]) == (True, None)
        assert line["replay_equal"] is not False
        assert [] == workers(tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_a_dead_processor_is_one_line(tmp_path: Path) -> None:
    """Whoever kills the processor ends the demo: one line that says so, and exit code 2."""
    with demo(tmp_path, "--json") as process:
        wait_for_line(process, "paid calls are served")
        (number,) = workers(tmp_path)
        os.kill(number, signal.SIGKILL)
        out, said = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (2, "")
    assert "b3iq-streams: the processor died (signal 9)" in said.splitlines()[-1]
    assert [] == list(tmp_path.iterdir())


def test_no_broker_is_one_line(tmp_path: Path) -> None:
    """A broker that is not there is named."""
    with demo(tmp_path, "--bootstrap", "127.0.0.1:9", "--json") as process:
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert "no Kafka broker answers at 127.0.0.1:9" in said.splitlines()[-1]
