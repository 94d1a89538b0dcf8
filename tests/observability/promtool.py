"""Finds the system's promtool, and runs it; downloads none."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

MISSING = "no promtool found: `apt-get install -y --no-install-recommends prometheus`"


def promtool() -> str | None:
    """Its path; None if there is none."""
    return shutil.which("promtool")


def run(*arguments: str, given: bytes = b"") -> tuple[int, str]:
    """Exit code and everything said."""
    path = promtool()
    assert path is not None, MISSING
    done = subprocess.run([path, *arguments], input=given, capture_output=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


def written(path: Path, content: dict[str, Any]) -> str:
    """A file for promtool; JSON is YAML."""
    path.write_text(json.dumps(content))
    return str(path)
