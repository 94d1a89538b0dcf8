"""A process that ends itself leaves its note, whatever is in the way."""

import subprocess
import sys
from pathlib import Path

import pytest

from b3iq_streams.processor.exits import read_exits
from b3iq_streams.processor.guard import EXIT_CODE

PROGRAM = """
import sys
from pathlib import Path
from b3iq_streams.observability import logs
from b3iq_streams.processor import exits, guard
logs.configure("info", "json")
if sys.argv[2] == "broken":
    guard.note_exit = lambda *_: 1 / 0
guard.note_exits_in(Path(sys.argv[1]))
guard.die("stalled", "partition 3 made no progress for 9 s")
"""


@pytest.mark.parametrize(("how", "noted"), [("whole", {"stalled": 1}), ("broken", {})])
def test_a_process_that_ends_itself_leaves_a_note_and_ends(how: str, noted: dict[str, int], tmp_path: Path) -> None:
    """The exit code and the last line are the same with a note that breaks as without."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path), how], capture_output=True, timeout=60, check=False)
    assert (EXIT_CODE, True) == (done.returncode, b'"event": "stalled: partition 3 made no progress for 9 s"' in done.stderr)
    assert noted == {code: number for code, (number, _) in read_exits(tmp_path).items()}
