"""HTTP itself: error forms, headers on every answer, entity tags, CORS, files, probes, and what a bug looks like from outside."""

import logging
import re
from typing import Any

import pytest

from b3iq_schemas.codes import RouteRefusal
from b3iq_streams.catalog.guard import HEADERS
from b3iq_streams.catalog.pages import Assets
from tests.catalog.lab import CatalogLab, application, ask, get, ready
from tests.chainlab import MODEL, decision
from tests.shells.router_lab import BOUND_MS

NATIVE = {"status", "title", "detail", "code"}
OPENAI = {"message", "type", "param", "code", "b3iq"}
ASSETS = Assets(
    {
        "index.html": b'<link href="assets/css/a.css"><script src="/assets/js/app.js"></script>',
        "css/a.css": b"a{}",
        "js/app.js": b"import './b.js'",
        "secret.key": b"no",
    }
)


def lagging() -> CatalogLab:
    """A catalog whose processor is silent for longer than the bound."""
    lab = ready()
    lab.epoch(decision())
    lab.pass_ms(BOUND_MS + 1, idle=False)
    return lab


@pytest.mark.parametrize(
    ("path", "status", "code", "kind"),
    [
        ("/v1/models", 503, "processor_lag", "api_error"),
        ("/v1/models/any/id", 503, "processor_lag", "api_error"),
        ("/v1/route", 404, "not_found", "not_found_error"),
        ("/readyz", 503, "processor_lag", None),
        ("/v1/public/nodes/%20/route-readiness", 400, "invalid_request", None),
        ("/v1/public/nothing", 404, "not_found", None),
        ("/v1/public/status/", 404, "not_found", None),
        ("/docs", 404, "not_found", None),
        ("/assets/../pages.py", 404, "not_found", None),
    ],
)
def test_errors_come_in_the_form_that_belongs_to_the_page(path: str, status: int, code: str, kind: str | None) -> None:
    """The OpenAI form where its clients call, the native form elsewhere; both name status, title, detail and code."""
    answer = get(lagging(), path)
    error = answer.json["error"]
    native = error if kind is None else error["b3iq"]
    assert (status, status, code) == (answer.status, native["status"], answer.code)
    assert (NATIVE if kind is None else OPENAI) == error.keys()
    assert NATIVE == native.keys()
    if kind is not None:
        assert (kind, native["detail"], None) == (error["type"], error["message"], error["param"])


def test_a_model_that_nobody_serves_is_not_found() -> None:
    """404 with its own code, only while it is known that nobody does."""
    lab = ready()
    lab.epoch(decision(), decision("node-2/p0", False, model_id="org/blocked"))
    assert (200, MODEL) == (get(lab, f"/v1/models/{MODEL}").status, get(lab, f"/v1/models/{MODEL}").json["id"])
    for model in ("org/blocked", "never/heard/of", ""):
        answer = get(lab, f"/v1/models/{model}")
        assert (404, "model_not_found") == (answer.status, answer.code)


def test_a_model_id_may_contain_slashes() -> None:
    """As it stands in the path, escaped or not."""
    lab = ready()
    lab.epoch(decision(model_id="org/name@1"))
    assert ["org/name@1"] * 2 == [get(lab, f"/v1/models/{path}").json["id"] for path in ("org/name@1", "org%2Fname%401")]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/public/status", "/v1/public/changes", "/healthz"])
def test_other_methods_are_not_taken(method: str, path: str) -> None:
    """405 with what is, in the page's form."""
    answer = ask(ready().app, path, method)
    assert (405, "GET") == (answer.status, answer.headers["allow"])
    assert method == "HEAD" or answer.code == "method_not_allowed"


@pytest.mark.parametrize(
    "path", ["/", "/v1/models", "/v1/public/status", "/nothing", "/metrics", "/assets/js/app.js", "/openapi.json"]
)
def test_headers_are_on_every_answer(path: str) -> None:
    """Errors included."""
    answer = ask(application(lagging(), assets=ASSETS), path)
    assert HEADERS == {name: answer.headers[name] for name in HEADERS}
    assert "cache-control" in answer.headers
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/v1/public/status", "/v1/public/profiles", "/v1/public/nodes", "/v1/public/policy", "/nothing"]
)
def test_public_state_is_not_stored(path: str) -> None:
    """No cache keeps what may be withdrawn in the next moment."""
    assert "no-store" == get(ready(), path).headers["cache-control"]


def test_entity_tags() -> None:
    """304 for a reader who has the list, in any spelling of the header; 200 once it changed; 503 whatever the reader has."""
    lab = ready()
    lab.epoch(decision())
    first = get(lab, "/v1/models")
    tag = first.headers["etag"]
    for named in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = get(lab, "/v1/models", headers={"if-none-match": named})
        assert (304, b"", tag, "no-cache") == (again.status, again.content, again.headers["etag"], again.headers["cache-control"])
    assert 200 == get(lab, "/v1/models", headers={"if-none-match": '"x"'}).status
    lab.epoch(decision(model_id="other"))
    assert 200 == get(lab, "/v1/models", headers={"if-none-match": tag}).status
    lab.pass_ms(BOUND_MS + 1, idle=False)
    assert 503 == get(lab, "/v1/models", headers={"if-none-match": "*"}).status


def test_cors_only_for_origins_that_were_named() -> None:
    """Off by default; on, for those pages and reading only."""
    lab, ours, other = ready(), {"origin": "https://ours.example"}, {"origin": "https://other.example"}
    app = application(lab, cors_origins=["https://ours.example"])
    found = [ask(app, "/v1/models", headers=headers).headers.get("access-control-allow-origin") for headers in (ours, other)]
    assert ["https://ours.example", None] == found
    asked = ours | {"access-control-request-method": "GET"}
    assert 200 == ask(app, "/v1/models", "OPTIONS", headers=asked).status
    assert "access-control-allow-origin" not in get(lab, "/v1/models", headers=ours).headers


def test_probes() -> None:
    """Alive always; ready only while every partition is synced and within the bound, else with the reason of each."""
    lab = ready(2)
    assert [200, 200] == [get(lab, path).status for path in ("/healthz", "/readyz")]
    lab.view.parts[1].lost(RouteRefusal.VIEW_NOT_SYNCED)
    answer = get(lab, "/readyz")
    assert (503, "view_not_synced") == (answer.status, answer.code)
    assert "1 view_not_synced" in answer.json["error"]["detail"]
    assert 200 == get(lab, "/healthz").status


def test_metrics_are_by_pattern_never_by_path() -> None:
    """Whatever is asked for, labels come from the table of pages."""
    lab = ready(2)
    lab.epoch(decision())
    for path in ("/v1/models/x", "/v1/models/y", "/nothing/one", "/nothing/two", "/v1/public/nodes/n/route-readiness"):
        get(lab, path)
    text = get(lab, "/metrics").content.decode()
    assert 'b3iq_catalog_requests_total{route="/v1/models/{model_id:path}",status="404"} 2.0' in text
    assert 'b3iq_catalog_requests_total{route="none",status="404"} 2.0' in text
    assert "b3iq_catalog_ready 1.0" in text
    assert 'b3iq_catalog_resolved_lag_seconds{partition="1"} 0.0' in text
    assert "b3iq_catalog_eligible 1.0" in text
    assert "nothing" not in text


class Planted(Exception):
    """A bug whose message carries what must not be seen."""


@pytest.mark.parametrize("path", ["/v1/models", "/v1/public/overview", "/metrics"])
def test_a_bug_is_503_and_tells_nothing(path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """No traceback and no message outside; in the log, the kind and the place, without a value."""
    lab = ready()

    def broken(*given: Any) -> Any:
        raise Planted("b3iq_gateway_secret at /home/somebody")

    monkeypatch.setattr(lab.live.store, "sync", broken)
    with caplog.at_level(logging.DEBUG):
        answer = get(lab, path)
    assert (503, "catalog_error") == (answer.status, answer.code)
    assert b"secret" not in answer.content
    assert b"Planted" not in answer.content
    (line,) = [record for record in caplog.records if record.name.startswith("b3iq_streams.catalog")]
    assert f"unexpected Planted at {__file__}:{broken.__code__.co_firstlineno + 1}" == line.getMessage()
    assert "secret" not in caplog.text
    assert HEADERS == {name: answer.headers[name] for name in HEADERS}


# --- files ------------------------------------------------------------------------------------------------------------


def test_files_have_their_version_in_the_address() -> None:
    """The page names versioned addresses, which never go stale; without the version, a cache has to ask."""
    app = application(ready(), assets=ASSETS)
    page = ask(app, "/")
    assert ("text/html; charset=utf-8", "no-cache") == (page.headers["content-type"], page.headers["cache-control"])
    version = ASSETS.version
    assert f'href="assets/{version}/css/a.css"' in page.content.decode()
    assert f'src="/assets/{version}/js/app.js"' in page.content.decode()
    file = ask(app, f"/assets/{version}/js/app.js")
    assert (b"import './b.js'", "text/javascript; charset=utf-8") == (file.content, file.headers["content-type"])
    assert "immutable" in file.headers["cache-control"]
    assert "no-cache" == ask(app, "/assets/js/app.js").headers["cache-control"]
    assert 304 == ask(app, "/assets/css/a.css", headers={"if-none-match": ask(app, "/assets/css/a.css").headers["etag"]}).status
    for path in ("/assets/secret.key", "/assets/", "/assets/0000/js/app.js", "/assets/js", "/assets/js/../index.htm"):
        assert 404 == ask(app, path).status


def test_the_version_is_the_content() -> None:
    """Another byte in any file is another version."""
    assert ASSETS.version != Assets({"index.html": b"", "css/a.css": b"a{} "}).version
    assert Assets({"a.js": b"x"}).version == Assets({"a.js": b"x"}).version


def test_an_installation_without_a_page_still_answers() -> None:
    """Only the page is missing."""
    lab = ready()
    assert [404, 200] == [get(lab, path).status for path in ("/", "/v1/public/status")]


def test_the_packaged_page_is_served() -> None:
    """What the package holds: a page, whose every local address is answered."""
    app = application(ready(), assets=Assets.packaged())
    page = ask(app, "/")
    assert 200 == page.status
    addresses = re.findall(r'(?:src|href)="/?(assets/[^"]+)"', page.content.decode())
    assert addresses
    assert [] == [address for address in addresses if ask(app, f"/{address}").status != 200]
