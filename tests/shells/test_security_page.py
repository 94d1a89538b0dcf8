"""The page on secured clusters: what it names is there, what it shows is taken."""

import re
import shlex
from pathlib import Path

import pytest

from b3iq_streams.security import SecuritySettings
from b3iq_streams.settings import KafkaSettings, load
from b3iq_streams.settings_file import FileSource
from tests.deploy.commands import ROOT, parse

PAGE = (ROOT / "docs/security.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = sorted({line.partition("|")[0].strip() for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()
                   if line.strip().startswith("b3iq-streams ")}
                  | {command.partition("|")[0].strip() for command in re.findall(r"`(b3iq-streams [^`]*)`", PAGE)})  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_takes_it(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands on the page."""
    parse(shlex.split(command)[1:], monkeypatch, {})


def test_every_setting_is_on_it() -> None:
    """By the name of its variable; and no variable is on it that nothing reads."""
    named = set(re.findall(r"B3IQ_[A-Z_]+[A-Z]", PAGE))
    assert {f"B3IQ_{name.upper()}" for name in KafkaSettings.model_fields} == named
    assert set(SecuritySettings.model_fields) < set(KafkaSettings.model_fields)


@pytest.mark.parametrize("text", [block for kind, block in BLOCKS if kind == "ini"])
def test_its_files_of_settings_are_read(text: str, tmp_path: Path) -> None:
    """Each example is one that a client would take, if its files were there."""
    (tmp_path / "kafka.conf").write_text(text)
    found = FileSource(KafkaSettings, tmp_path / "kafka.conf")()
    assert {"security_protocol", "tls_ca"} < set(found)
    plain = {name: value for name, value in found.items() if name == "bootstrap"}
    assert plain.get("bootstrap", "x:1") == load(KafkaSettings, **({"bootstrap": "x:1"} | plain)).bootstrap


def test_what_it_links_to_is_there() -> None:
    """Pages, tests and sources."""
    named = {f"docs/{path}" for path in re.findall(r"\]\(([\w./-]+)", PAGE)} | set(
        re.findall(r"`((?:tests|streams)/[\w./-]+)`", PAGE)
    )
    assert named
    assert [] == [path for path in named if not (ROOT / path).exists()]


def test_the_errors_are_the_ones_that_are_said() -> None:
    """Each piece of a message stands in the source that says it, or is OpenSSL's own."""
    source = "".join(path.read_text() for path in (ROOT / "streams/b3iq_streams").rglob("*.py"))
    table = PAGE.partition("| it says |")[2]
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    quoted = [text for cell in cells for text in re.findall(r"`([^`]*)`", cell)]
    said = [piece.strip(" ,") for text in quoted for piece in re.split(r"…|PLAINTEXT|:", text)]
    openssl = {
        "unable to get local issuer certificate",
        "certificate has expired",
        "not valid for",
        "self-signed certificate in certificate chain",
        "certificate that is not accepted",
    }
    assert [] == [piece for piece in said if piece and piece not in source and piece not in openssl]
