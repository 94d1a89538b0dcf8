"""`audit explain` and `audit timeline` on the command line: output, exit codes, and mistakes in one line."""

import os
from pathlib import Path

import orjson
import pytest

from b3iq_streams.audit import cli_explain, options
from b3iq_streams.audit.story.explain_text import as_text
from b3iq_streams.audit.story.timeline_html import as_html
from b3iq_streams.cli import run
from b3iq_streams.core.leaves import VIEWS
from tests.audit.lab import MemoryOrigin, busy_lab
from tests.audit.said import lab, left, lied_about
from tests.audit.test_explain import HELD_AT
from tests.audit.test_explain import told as explained
from tests.audit.test_timeline import told, whole
from tests.factory import TRUST

AT = "2027-01-15T08:01:40Z"
"""HELD_AT, as people write it."""


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the trust file, no settings in the environment, and the busy network behind every origin."""
    for name in [name for name in os.environ if name.startswith("B3IQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Path("trust.json").write_text(TRUST.model_dump_json())
    monkeypatch.setenv("B3IQ_TRUST", "trust.json")
    behind(monkeypatch, lab().origin)
    return tmp_path


def behind(monkeypatch: pytest.MonkeyPatch, origin: MemoryOrigin) -> None:
    """What `--bootstrap` reads."""
    monkeypatch.setattr(options, "_origin", lambda *_: origin)


WRONG = (
    ("explain", "Missing argument 'NODE'"),
    ("explain node-1", "Missing argument 'PROFILE'"),
    ("explain node/1 p0", "NODE 'node/1' is not an id"),
    ("explain node-1 .p0", "PROFILE '.p0' is not an id"),
    ("explain node-1 p0 --at 2027-01-15T08:00:00", "has no zone"),
    ("explain node-1 p0 --at yesterday", "neither ISO 8601"),
    ("explain node-1 p0 --at 1800000000", "seconds are not taken"),
    ("explain node-1 p0 --at 2027-01-15T08:00:00Z", "is before the log begins"),
    ("explain node-1 p0 p1", "unexpected extra argument"),
    ("timeline", "Missing argument 'NODE'"),
    ("timeline node!", "NODE 'node!' is not an id"),
    ("timeline node-1 p/0", "PROFILE 'p/0' is not an id"),
    ("timeline node-1 --from 2027-01-15", "has no zone"),
    ("timeline node-1 --from 2027-01-16T00:00Z --to 2027-01-15T00:00Z", "is after --to"),
    ("timeline node-1 --from 2027-01-16T00:00Z", "is after the end of the log"),
    ("timeline node-1 --to 2027-01-15T08:00Z", "no epoch up to"),
    ("timeline node-1 --html nowhere/page.html", "No such file or directory"),
)


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=[arguments for arguments, _ in WRONG])
def test_a_mistake_is_one_line_and_exit_code_two(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each wrong command line names what is wrong, on one line, and prints nothing else."""
    assert 2 == run(["audit", *arguments.split()])
    out, err = capsys.readouterr()
    assert ("", 1) == (out, err.count("\n"))
    assert said in err


@pytest.mark.parametrize("operator", [[], ["--operator"]])
def test_explain_prints_the_explanation(operator: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The text of the moment asked, without colours where nobody sees them; not eligible is no failure."""
    assert 0 == run(["audit", "explain", "node-3", "p0", "--at", AT, *operator])
    out = capsys.readouterr().out
    assert as_text(explained("node-3", HELD_AT), bool(operator)) + "\n" == out
    assert "\x1b" not in out
    assert bool(operator) == ("planted-reason" in out)


def test_explain_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """One line of JSON with every check; what is not public is not in it."""
    assert 0 == run(["audit", "explain", "node-3", "p0", "--at", str(HELD_AT), "--json"])
    out = capsys.readouterr().out
    assert 1 == out.count("\n")
    assert (False, len(VIEWS)) == (orjson.loads(out)["eligible"], len(orjson.loads(out)["leaves"]))
    assert "planted" not in out


def test_an_unknown_node_is_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is known of it: that is an answer."""
    assert 0 == run(["audit", "explain", "ghost", "p0"])
    assert "not eligible: nothing is known" in capsys.readouterr().out
    assert 0 == run(["audit", "timeline", "ghost"])


def test_timeline_prints_and_draws(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON on the terminal and the page in its file, both of the same history."""
    assert 0 == run(["audit", "timeline", "node-5", "--json", "--html", "page.html"])
    document = orjson.loads(capsys.readouterr().out)
    assert len(whole("node-5").profiles[0].intervals) == len(document["profiles"][0]["intervals"])
    assert as_html(whole("node-5")) == Path("page.html").read_text()
    assert 0 == run(["audit", "timeline", "node-5", "p0", "--from", "2027-01-15T08:01:00Z", "--to", AT])
    assert "node-5/p0  from 2027-01-15T08:01:00.000Z to 2027-01-15T08:01:40.000Z, 40 s" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["explain", "node-2", "p0"], ["timeline", "node-2"]])
def test_a_log_that_recorded_something_else_is_exit_code_one(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is given, and the exit code says that the record differs from it; for another node it does not."""
    behind(monkeypatch, lied_about(lab(), "node-2"))
    assert 1 == run(["audit", *arguments])
    assert 0 == run(["audit", arguments[0], "node-3", *arguments[2:]])


@pytest.mark.parametrize(
    "arguments",
    [["explain", "node-2", "p0", "--at", "2027-01-15T08:00:10Z"], ["timeline", "node-2", "--to", "2027-01-15T08:00:10Z"]],
)
def test_what_is_not_kept_is_exit_code_three(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beyond retention the answer is "evidence expired", on one line, with the earliest time that can be answered."""
    behind(monkeypatch, left(busy_lab(refresh_period_ms=20_000), {"heartbeats": 0.5}))
    assert 3 == run(["audit", *arguments])
    out, err = capsys.readouterr()
    assert ("", 1) == (out, err.count("\n"))
    assert err.startswith("evidence expired: ")
    assert "the earliest time that can be answered is 2027-01-15T08:0" in err


def test_signs_have_colours_on_a_terminal() -> None:
    """Only the signs before gates and checks, and never letters of what came from outside."""
    text = as_text(explained("node-2", HELD_AT - 50_000))
    coloured = cli_explain.coloured(text)
    assert text == coloured.replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[0m", "")
    assert "\x1b[31m✗\x1b[0m route healthy" in coloured
    assert coloured.count("\x1b[0m") == text.count("✓") + text.count("✗")


def test_the_page_of_a_range_is_the_page_of_that_history() -> None:
    """What is drawn is what was asked for."""
    arguments = ["--from", "2027-01-15T08:01:00Z", "--to", AT, "--html", "page.html"]
    assert 0 == run(["audit", "timeline", "node-5", *arguments])
    assert as_html(told("node-5", HELD_AT - 40_000, HELD_AT)) == Path("page.html").read_text()
