"""The pages drawn from the contract's tables are those in `docs/`."""

from pathlib import Path

import pytest

from b3iq_schemas import codes
from b3iq_schemas.codes_doc import codes_page, topics_page
from b3iq_schemas.topics import TOPICS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("name", "text"), [("codes.md", codes_page()), ("topics.md", topics_page())])
def test_page_is_current(name: str, text: str) -> None:
    """The page is what the tables give; `python -m b3iq_schemas.codes_doc` writes it again."""
    assert (DOCS / name).read_text(encoding="utf-8") == text


def test_every_code_is_on_the_page() -> None:
    """No code and no topic is left out, and the network's own codes all exist."""
    known = {*codes.LEAVES, *codes.Refusal, *codes.RouteRefusal}
    assert all(f"| `{code}`" in codes_page() for code in known)
    assert all(f"| `{name}` |" in topics_page() for name in TOPICS)
    assert known >= codes.NETWORK_CODES


def test_every_code_is_explained() -> None:
    """Each refusal has its meaning, and each leaf names a topic that exists as its evidence."""
    assert codes.REFUSAL_MEANING.keys() == {*codes.Refusal}
    assert codes.ROUTE_REFUSAL_MEANING.keys() == {*codes.RouteRefusal}
    assert {leaf.source for leaf in codes.LEAVES.values()} - {""} <= TOPICS.keys()
