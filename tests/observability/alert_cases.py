"""For each alert: series on which it must fire, and series, as close to those as can be, on which it must not.

`at` = when to look, in seconds; series are one value each 15 s, in promtool's notation.
"""

from typing import NamedTuple

Series = dict[str, str]


class Case(NamedTuple):
    """Series that must fire at `at_s`, for which labels; and some that must not."""

    alert: str
    fires: Series
    labels: dict[str, str]
    silent: tuple[Series, ...]
    at_s: int = 600


NOTICE = 'b3iq_notice_timestamp_seconds{instance="a",level="alarm",code="%s"}'
REVISION = 'b3iq_policy_revision{partition="%d",instance="%s"}'
ELIGIBLE = 'b3iq_profiles_eligible{partition="%d",instance="%s"}'
LAG = 'b3iq_resolved_lag_seconds{partition="0",instance="%s"}'
LOST = 'b3iq_profiles_lost_total{instance="%s"}'
CLAIMED = 'b3iq_catalog_eligible{instance="c"}'
CATALOG_LAG = 'b3iq_catalog_resolved_lag_seconds{partition="%d",instance="%s"}'
READY = 'b3iq_catalog_ready{job="catalog",instance="%s"}'
BROKEN = 'b3iq_%s{code="%s",instance="a"}'
EXIT = 'b3iq_exit_timestamp_seconds{instance="a",code="%s"}'
REFUSED = 'b3iq_events_refused_total{code="record_empty",instance="%s"}'

CASES = (
    Case("B3iqResolvedLag", {LAG % "a": "4x60"}, {"partition": "0"},
         ({LAG % "a": "3x60"}, {LAG % "zombie": "500x60", LAG % "a": "0x60"}, {LAG % "a": "0x38 4 0x20"})),
    Case("B3iqResolvedLag", {CATALOG_LAG % (1, "c"): "4x60"}, {"partition": "1"}, ()),
    Case("B3iqCatalogWithholds", {READY % "c": "0x60", CATALOG_LAG % (0, "c"): "3x60", CATALOG_LAG % (0, "other"): "9x60"},
         {"instance": "c"},
         ({READY % "c": "1x60", CATALOG_LAG % (0, "c"): "0x60"},
          {READY % "c": "0x60", CATALOG_LAG % (0, "c"): "4x60", CATALOG_LAG % (1, "c"): "0x60"},
          {READY % "c": "1x37 0x30"})),
    Case("B3iqCatalogWithholds", {READY % "c": "0x60", READY % "other": "1x60"}, {"instance": "c"}, ()),
    Case("B3iqTargetDown", {'up{job="processor",instance="a"}': "0x60"}, {"job": "processor", "instance": "a"},
         ({'up{job="processor",instance="a"}': "1x60"}, {'up{job="another",instance="a"}': "0x60"})),
    Case("B3iqDecisionsDiffer", {NOTICE % "fold_differs": "500x60"},
         {"instance": "a", "level": "alarm", "code": "fold_differs"},
         ({NOTICE % "fold_differs": "-400x60"}, {NOTICE % "checkpoint_void": "500x60"})),
    Case("B3iqDecisionsDiffer", {NOTICE % "other": "500x60"}, {"instance": "a", "level": "alarm", "code": "other"}, ()),
    Case("B3iqRebuild", {NOTICE % "checkpoint_void": "500x60"},
         {"instance": "a", "level": "alarm", "code": "checkpoint_void"},
         ({NOTICE % "checkpoint_void": "-400x60"}, {NOTICE % "fold_differs": "500x60"})),
    Case("B3iqChainContested", {'b3iq_contested_epochs_total{instance="a"}': "0+1x60"}, {"instance": "a"},
         ({'b3iq_contested_epochs_total{instance="a"}': "0x30 3x30"},
          {LAG % "a": "0x30 stale", LAG % "b": "_x30 0x30"})),
    Case("B3iqChainContested", {LAG % "a": "0x60", LAG % "b": "0x60"}, {"partition": "0"}, ()),
    Case("B3iqCheckBroken", {BROKEN % ("changes_total", "route_check_error"): "0x30 1x30"}, {"code": "route_check_error"},
         ({BROKEN % ("changes_total", "route_check_error"): "0x10 1x90"}, {BROKEN % ("changes_total", "route_stale"): "0+9x90"},
          {BROKEN % ("events_refused_total", "record_empty"): "0+9x90"},
          {BROKEN % ("catalog_blocked", "route_check_error"): "0x90", BROKEN % ("catalog_blocked", "route_stale"): "9x90"}),
         at_s=1_200),
    Case("B3iqCheckBroken", {BROKEN % ("events_refused_total", "admission_error"): "0x30 1x30"}, {"code": "admission_error"}, ()),
    Case("B3iqCheckBroken", {BROKEN % ("catalog_blocked", "node_check_error"): "1x60"}, {"code": "node_check_error"}, ()),
    Case("B3iqMassChange", {ELIGIBLE % (0, "a"): "100x38 79x30", LOST % "a": "0x38 21x30"}, {},
         ({ELIGIBLE % (0, "a"): "100x38 80x30", LOST % "a": "0x38 20x30"},
          {ELIGIBLE % (0, "a"): "100x38 stale", ELIGIBLE % (0, "b"): "_x39 100x30", LOST % "a": "50x38 stale"},
          {ELIGIBLE % (0, "a"): "100-1x60", LOST % "a": "0+1x60"},
          {ELIGIBLE % (0, "a"): "4x38 3x30", LOST % "a": "0x38 1x30"},
          {ELIGIBLE % (0, "a"): "0x60", LOST % "a": "7x60"}, {ELIGIBLE % (0, "a"): "0x37 10x30", LOST % "a": "0x38 3x30"})),
    Case("B3iqMassChange", {ELIGIBLE % (0, "a"): "100x60", LOST % "a": "0x38 21x30"}, {},
         ({ELIGIBLE % (0, "a"): "100x60", LOST % "a": "0x38 20x30"},
          {ELIGIBLE % (0, "a"): "80x60", ELIGIBLE % (1, "b"): "20x60", LOST % "a": "0x38 10x30", LOST % "b": "0x38 10x30"})),
    Case("B3iqMassChange", {ELIGIBLE % (0, "a"): "100x38 200x30", LOST % "a": "0x38 30x30"}, {},
         ({ELIGIBLE % (0, "a"): "200x60", LOST % "a": "0x38 30x30"},)),
    Case("B3iqMassChange", {ELIGIBLE % (0, "a"): "100x38 stale", ELIGIBLE % (0, "b"): "_x39 79x30", LOST % "b": "0x60"}, {}, ()),
    Case("B3iqMassChange", {ELIGIBLE % (0, "a"): "5x38 3x30", LOST % "a": "0x38 2x30"}, {}, ()),
    Case("B3iqMassChange", {ELIGIBLE % (0, "a"): "1x38 0x30", LOST % "a": "0x38 1x30"}, {}, ()),
    Case("B3iqCatalogClaimsMore", {CLAIMED: "11x60", ELIGIBLE % (0, "a"): "10x60", CATALOG_LAG % (0, "c"): "0x60"}, {},
         ({CLAIMED: "10x60", ELIGIBLE % (0, "a"): "10x60", CATALOG_LAG % (0, "c"): "0x60"},
          {CLAIMED: "11x60", ELIGIBLE % (0, "a"): "10x60", CATALOG_LAG % (0, "c"): "0x60", CATALOG_LAG % (1, "c"): "0x60"},
          {CLAIMED: "11x60", ELIGIBLE % (0, "a"): "6x60", ELIGIBLE % (1, "b"): "5x36 stale",
           CATALOG_LAG % (0, "c"): "0x60", CATALOG_LAG % (1, "c"): "0x60"})),
    Case("B3iqDeadLetters", {REFUSED % "a": "0+10x60", REFUSED % "b": "0+10x60"}, {"code": "record_empty"},
         ({REFUSED % "a": "0+10x60"}, {REFUSED % "a": "0x39 900x20"}), at_s=840),
    Case("B3iqPolicyPartial", {REVISION % (0, "a"): "8x60", REVISION % (1, "a"): "7x60"}, {"partition": "1"},
         ({REVISION % (0, "a"): "8x60", REVISION % (1, "a"): "8x60"},
          {REVISION % (0, "a"): "7x36 8x24", REVISION % (1, "a"): "7x38 8x22"})),
    Case("B3iqWorkerExit", {EXIT % "stalled": "500x60", EXIT % "input_truncated": "500x60"}, {"instance": "a", "code": "stalled"},
         ({EXIT % "stalled": "-400x60"}, {EXIT % "input_truncated": "500x60"}, {EXIT % "input_expired": "500x60"})),
    Case("B3iqLogLost", {EXIT % "input_truncated": "500x60", EXIT % "stalled": "500x60"},
         {"instance": "a", "code": "input_truncated"},
         ({EXIT % "input_truncated": "-400x60"}, {EXIT % "stalled": "500x60"})),
    Case("B3iqLogLost", {EXIT % "input_expired": "500x60"}, {"instance": "a", "code": "input_expired"}, ()),
)  # fmt: skip
