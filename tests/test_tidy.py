"""Traps of this layout, and promises about what the repository holds."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def _files(pattern: str) -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\n")
    return [ROOT / name for name in names if name and (ROOT / name).exists()]


def test_no_package_exists_twice() -> None:
    """`streams/` and `schemas/` are bare folders: with an `__init__.py` each package would import under two names."""
    assert [] == [folder for folder in ("streams", "schemas") if (ROOT / folder / "__init__.py").exists()]


def test_no_lock_file_or_address_of_a_registry() -> None:
    """Pins carry no download addresses."""
    assert [] == _files("*.lock")
    assert not re.search(r"https?://|@ ", (ROOT / "constraints.txt").read_text())


def test_every_source_module_says_what_it_does() -> None:
    """Each module begins with a docstring."""
    silent = [path for path in _files("*.py") if path.stat().st_size and not path.read_text().lstrip().startswith('"""')]
    assert [] == silent


def test_modules_stay_readable() -> None:
    """No source module grows into a god-file."""
    long = {str(path.relative_to(ROOT)): n for path in [*_files("streams/*.py"), *_files("schemas/*.py")]
            if (n := len(path.read_text().splitlines())) > 350}  # fmt: skip
    assert {} == long


def test_clocks_are_read_in_one_module() -> None:
    """Time is a parameter everywhere else."""
    reads = re.compile(r"\b(time\.time|time\.monotonic|datetime\.now|time_ns|monotonic_ns|perf_counter)\(")
    offenders = [path for path in [*_files("streams/*.py"), *_files("schemas/*.py")]
                 if path.name != "clock.py" and reads.search(path.read_text())]  # fmt: skip
    assert [] == offenders


def test_faust_is_imported_in_one_package() -> None:
    """Everything else must run without it."""
    importing = re.compile(r"^\s*(from|import) (faust|mode)\b", re.MULTILINE)
    offenders = [
        path for path in _files("streams/*.py") if path.parent.name != "processor" and importing.search(path.read_text())
    ]
    assert [] == offenders


def test_no_test_can_be_skipped() -> None:
    """A missing broker is a failure, not a skip."""
    skipping = re.compile(r"pytest\.(skip|importorskip|mark\.(skip|xfail))|@skip")
    offenders = [path for path in _files("tests/*.py") if path.name != "test_tidy.py" and skipping.search(path.read_text())]
    assert [] == offenders


def test_requirements_are_justified() -> None:
    """Every dependency has its line in ADR 1."""
    project = (ROOT / "pyproject.toml").read_text()
    names = set(re.findall(r'"([a-z][a-z0-9-]+)(?:\[[a-z,]+\])?[>=~]=', project))
    reasons = (ROOT / "docs/adr/0001-dependencies.md").read_text()
    assert set() == {name for name in names if name not in reasons and not name.startswith("types-") and name != "hatchling"}
