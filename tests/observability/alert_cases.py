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
REFUSED = 'b3iq_events_refused_total{code="record_empty",instance="%s"}'

CASES = (
    Case("B3iqResolvedLag", {LAG % "a": "4x60"}, {"partition": "0"},
         ({LAG % "a": "3x60"}, {LAG % "zombie": "500x60", LAG % "a": "0x60"}, {LAG % "a": "0x38 4 0x20"})),
    Case("B3iqResolvedLag", {'b3iq_catalog_resolved_lag_seconds{partition="1",instance="c"}': "4x60"}, {"partition": "1"}, ()),
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
    Case("B3iqMassChange", {ELIGIBLE % (0, "a"): "100x38 79x30"}, {},
         ({ELIGIBLE % (0, "a"): "100x38 80x30"}, {ELIGIBLE % (0, "a"): "5x38 1x30"},
          {ELIGIBLE % (0, "a"): "100x38 stale", ELIGIBLE % (0, "b"): "_x39 100x30"},
          {ELIGIBLE % (0, "a"): "100-1x60"})),
    Case("B3iqCatalogClaimsMore", {'b3iq_catalog_eligible{instance="c"}': "11x60", ELIGIBLE % (0, "a"): "10x60"}, {},
         ({'b3iq_catalog_eligible{instance="c"}': "10x60", ELIGIBLE % (0, "a"): "10x60"},)),
    Case("B3iqDeadLetters", {REFUSED % "a": "0+10x60", REFUSED % "b": "0+10x60"}, {"code": "record_empty"},
         ({REFUSED % "a": "0+10x60"}, {REFUSED % "a": "0x39 900x20"}), at_s=840),
    Case("B3iqPolicyPartial", {REVISION % (0, "a"): "8x60", REVISION % (1, "a"): "7x60"}, {"partition": "1"},
         ({REVISION % (0, "a"): "8x60", REVISION % (1, "a"): "8x60"},
          {REVISION % (0, "a"): "7x36 8x24", REVISION % (1, "a"): "7x38 8x22"})),
    Case("B3iqWorkerExit", {'b3iq_exit_timestamp_seconds{instance="a",code="stalled"}': "500x60"},
         {"instance": "a", "code": "stalled"}, ({'b3iq_exit_timestamp_seconds{instance="a",code="stalled"}': "-400x60"},)),
)  # fmt: skip
