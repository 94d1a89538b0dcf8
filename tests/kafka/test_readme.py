"""The README's walkthrough, as a reader would type it, on a real Kafka."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.kafka.support import Endpoint, free_port

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCK = re.compile(r"<!-- run -->\n```bash\n(.*?)```\n(?:```text\n(.*?)```)?", re.DOTALL)
VOLATILE = re.compile(r"\d+\.\d+|[0-9a-f]{32,}|\d{10,13}")


def test_the_walkthrough_works_as_it_is_written(private_kafka: Endpoint, tmp_path: Path) -> None:
    """Every command of the walkthrough succeeds, and what the README shows is what it prints."""
    blocks = BLOCK.findall(README)
    script = "set -eu\n" + "\n".join(commands for commands, _ in blocks) + "\nkill $(jobs -p); wait\n"
    ports = {written: str(free_port()) for written in ("6066", "8080", "8000")}
    for written, port in ports.items():
        script = script.replace(written, port)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "B3IQ_BOOTSTRAP": private_kafka.bootstrap,
    }
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        run = subprocess.Popen(
            ["bash", "-m", "-c", script], cwd=tmp_path, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
        )  # fmt: skip
    try:
        code = run.wait(180)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    printed, complaints = out.read_text().replace(f":{ports['8080']}", ":8080"), err.read_text()
    assert 0 == code, printed + complaints
    seen = {VOLATILE.sub("*", line) for line in printed.splitlines()}
    shown = [line for _, text in blocks for line in text.splitlines()]
    assert [] == [line for line in shown if VOLATILE.sub("*", line) not in seen]
