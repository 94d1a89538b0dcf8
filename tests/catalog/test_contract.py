"""The description is what the pages do: whatever it lets a client send, the answer is one that it names, and never a crash."""

from typing import Any

import schemathesis
from hypothesis import settings
from schemathesis.checks import CHECKS, not_a_server_error, positive_data_acceptance

from b3iq_streams.catalog.apikeys import ApiKeys, KeyFile, new_key
from b3iq_streams.catalog.gateway import Gateway
from tests.catalog.lab import CatalogLab, application, ready
from tests.chainlab import decision
from tests.shells.router_lab import BOUND_MS

DOCUMENTED = {"processor_lag", "no_healthy_candidates", "router_dispatch_failed"}
"""The only codes with a status of 500 or more that these two networks can bring about."""
KEY, ENTRY = new_key("test", None, None)


def served(lab: CatalogLab) -> Any:
    """Every page of a lab, its streams ended at once, as a client without a network sees them."""
    lab.live.hub.close()

    async def pick(request: Any) -> Any:
        return lab.view.pick(request, *lab.clock())

    return application(lab, Gateway(ApiKeys(KeyFile(keys=(ENTRY,))), pick, lab.clock, 100_000))


def healthy() -> CatalogLab:
    """Nodes that are ready, and one that is not."""
    lab = ready(2)
    lab.epoch(decision("a/p"), decision("b/p", False), decision("c/p", model_id="0"))
    return lab


def lagging() -> CatalogLab:
    """The same when the processor is silent."""
    lab = healthy()
    lab.pass_ms(BOUND_MS + 1, idle=False)
    return lab


HEALTHY, LAGGING = served(healthy()), served(lagging())


def conforms(case: schemathesis.Case[Any]) -> None:
    """Status, headers, type and body are among those described; a status above 500 comes with a documented code."""
    answer = case.call(headers={"authorization": f"Bearer {KEY}"})
    excluded: list[Any] = [not_a_server_error]
    if "cursor" in case.query or "since" in case.query or case.path == "/v1/route":
        excluded.append(positive_data_acceptance)  # not every word is a cursor, and a sound call may still be too dear
    case.validate_response(answer, excluded_checks=excluded)
    if answer.status_code >= 500:
        error = answer.json()["error"]
        assert error["code"] in DOCUMENTED
        assert (error["code"] == "router_dispatch_failed") == (answer.status_code == 502)


@schemathesis.openapi.from_asgi("/openapi.json", HEALTHY).parametrize()
@settings(max_examples=30)
def test_a_healthy_network(case: schemathesis.Case[Any]) -> None:
    """Every page while claims are made."""
    conforms(case)


@schemathesis.openapi.from_asgi("/openapi.json", LAGGING).parametrize()
@settings(max_examples=15)
def test_a_lagging_network(case: schemathesis.Case[Any]) -> None:
    """Every page while claims are withheld."""
    conforms(case)


def test_the_checks_are_on() -> None:
    """Those that compare with the description are among the ones that ran."""
    names = {check.__name__ for check in CHECKS.get_all()}
    assert {"status_code_conformance", "response_schema_conformance", "content_type_conformance"} <= names
