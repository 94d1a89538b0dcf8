"""The operations guide: every command in it is one that the command line takes."""

import re
import shlex

import pytest

from tests.deploy.commands import ROOT, parse

GUIDE = (ROOT / "docs/operations.md").read_text()
COMMANDS = sorted({line.strip() for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()
                   if line.strip().startswith("b3iq-streams ")}
                  | set(re.findall(r"`(b3iq-streams [^`]*--[^`]*)`", GUIDE)))  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_takes_it(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands in the guide."""
    parse(shlex.split(command)[1:], monkeypatch, {})


def test_the_guide_has_the_commands_that_matter() -> None:
    """Rehearsal, archive, its proof, and the check at the end."""
    assert {"topics regenerate", "audit export", "audit verify", "topics check"} <= {" ".join(c.split()[1:3]) for c in COMMANDS}


def test_files_that_it_names_are_there() -> None:
    """Tests, manifests and documents."""
    named = {
        *re.findall(r"`((?:tests|deploy)/[\w./-]+)`", GUIDE),
        *(f"docs/{path}" for path in re.findall(r"\]\(([\w./-]+)\)", GUIDE)),
    }
    assert named
    assert [] == [path for path in named if not (ROOT / path).exists()]
