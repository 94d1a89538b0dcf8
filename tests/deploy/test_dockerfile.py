"""The Dockerfile, read: no engine runs where this is tested."""

import re
import tomllib
from pathlib import Path

from tests.deploy.commands import ROOT

FILE = ROOT / "deploy/Dockerfile"
LINES = re.sub(r"\\\n\s*", " ", FILE.read_text()).splitlines()


def having(instruction: str) -> list[str]:
    """What is said after an instruction, in order."""
    return [line.partition(" ")[2].strip() for line in LINES if line.startswith(f"{instruction} ")]


def test_two_stages_on_one_pinned_base() -> None:
    """Both begin with the same version to its last digit, and the last one has nothing but what the first one built."""
    bases = [line.split()[0] for line in having("FROM")]
    assert 2 == len(bases)
    assert 1 == len(set(bases))
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", bases[0])
    last = LINES[max(i for i, line in enumerate(LINES) if line.startswith("FROM")) :]
    assert all("--from=build" in line for line in last if line.startswith("COPY"))
    assert not any("pip" in line for line in last if line.startswith("RUN"))


def test_versions_are_the_pinned_ones() -> None:
    """Installed under constraints.txt, with extras that exist."""
    (install,) = [line for line in having("RUN") if " install " in line]
    assert "-c constraints.txt" in install
    extras = re.search(r"\.\[([a-z,]+)\]", install)
    assert extras is not None
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"processor", "catalog"} == set(extras.group(1).split(",")) & set(known)


def test_it_runs_as_a_numbered_user_who_is_not_root() -> None:
    """The last word on the user is a number above 0."""
    assert int(having("USER")[-1]) > 0
    assert '["b3iq-streams"]' == having("ENTRYPOINT")[-1]


def test_all_it_copies_is_there_and_in_its_context() -> None:
    """And the context holds nothing else: no keys, no archives."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    context = {line[1:] for line in ignored if line.startswith("!")}
    copied = {name for line in having("COPY") if not line.startswith("--from") for name in line.split()[:-1]}
    assert context == copied
    assert [] == [name for name in copied if not (ROOT / Path(name)).exists()]
