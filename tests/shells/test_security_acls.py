"""The access rules without a cluster: they are those of the table written by hand, and what is only for a while is apart."""

import pytest

from b3iq_schemas.topics import PRINCIPALS, TOPICS, Principal
from b3iq_streams import acls, cli
from b3iq_streams.processor.names import GROUP
from tests.deploy.commands import ROOT
from tests.kafka.test_secured_matrix import COLUMNS, MATRIX

LETTERS = {
    "Write": "WD",
    "Read": "RD",
    "Describe": "D",
    "Create": "C",
    "DescribeConfigs": "S",
    "AlterConfigs": "SA",
    "Delete": "XD",
}
"""What a rule allows, with what Kafka says it implies."""
NAMES = acls.names()


@pytest.mark.parametrize("role", PRINCIPALS)
def test_the_rules_say_what_the_matrix_says(role: Principal) -> None:
    """The table that a real cluster is held to, role by role; no broker is needed to see that a rule is gone, or one too many."""
    rules = [rule for rule in acls.wanted(NAMES) if rule.principal == f"User:{role}"]
    for topic, written in zip(COLUMNS, MATRIX[role].split(), strict=True):
        allowed = {letter for rule in rules if rule.name == topic for letter in LETTERS[rule.operation]}
        assert set(written) - {"-"} == allowed, topic
    others = {(rule.resource, rule.name, rule.operation) for rule in rules if rule.resource != "topic"}
    assert {"processor": {("group", GROUP, "Read")}, "admin": {("cluster", "kafka-cluster", "Alter")}}.get(role, set()) == others


def test_a_new_generation_takes_rules_that_nobody_keeps() -> None:
    """They are the administrator's alone, none of them is in the table, and only they let anybody delete."""
    extra = acls.to_regenerate(NAMES)
    assert {"User:admin"} == {rule.principal for rule in extra}
    assert set() == {*extra} & {*acls.wanted(NAMES)}
    assert {*TOPICS} - {"policies", "holds"} == {rule.name for rule in extra if rule.operation == "Delete"}
    assert not [rule for rule in acls.wanted(NAMES) if rule.operation == "Delete"]


def test_lines_that_add_and_lines_that_remove(capsys: pytest.CaptureFixture[str]) -> None:
    """The same rules, taken away without a question."""
    assert 0 == cli.run(("topics", "acls", "--for-regenerate"))
    added = capsys.readouterr().out
    assert 0 == cli.run(("topics", "acls", "--for-regenerate", "--remove"))
    assert added.replace(" --add ", " --remove --force ") == capsys.readouterr().out
    assert " --operation Describe --group b3iq-processor\n" in added


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--remove --format json", "--format json has none"),
        ("--for-regenerate --format table", "leave out --for-regenerate"),
    ],
)
def test_what_does_not_go_together(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 2."""
    assert 2 == cli.run(("topics", "acls", *arguments.split()))
    error = capsys.readouterr().err
    assert said in error
    assert 1 == error.count("\n")


def test_the_page_has_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """As `topics acls --format table` prints it."""
    assert 0 == cli.run(("topics", "acls", "--format", "table"))
    assert f"\n{capsys.readouterr().out}\n" in (ROOT / "docs/security.md").read_text()
