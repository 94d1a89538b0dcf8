-- Views that the examples share. Before it: SET VARIABLE archive = '/path/to/the/archive';
--
-- What stands in the columns of facts, routing decisions and dead letters is what their senders wrote, not yet checked: run
-- `audit verify` on the archive first. Which rows of the chain count is checked: they have an accepted_epoch.
-- All times below are UTC without a zone, whatever the session's time zone is.

CREATE OR REPLACE TEMP VIEW chain AS
SELECT * FROM read_parquet(getvariable('archive') || '/eligibility-changes/**/*.parquet');

-- Every epoch that counts, and the moment it holds from.
CREATE OR REPLACE TEMP VIEW epochs AS
SELECT partition, accepted_epoch AS epoch, effective_at AT TIME ZONE 'UTC' AS resolved_at, policy_revision, n AS changes
FROM chain
WHERE kind = 'mark' AND accepted_epoch IS NOT NULL;

-- What was decided on each (node, profile): one row per published decision, holding from `from_at` to before `until_at`, which
-- is the next decision, or the last epoch of the partition. A refresh repeats the decision before it.
CREATE OR REPLACE TEMP VIEW decisions AS
WITH horizons AS (SELECT partition, max(resolved_at) AS horizon FROM epochs GROUP BY partition)
SELECT
    partition, node_id, profile_id, node_id || '/' || profile_id AS profile, accepted_epoch AS epoch, refresh,
    eligible, codes, first_code, gate_node, gate_route, gate_protocol, gate_runtime, gate_policy,
    model_id, route_tier, runtime_kind, price_wei_per_mtok, throughput_mtok_per_s, policy_revision,
    effective_at AT TIME ZONE 'UTC' AS from_at,
    coalesce(
        lead(effective_at) OVER (PARTITION BY node_id, profile_id ORDER BY accepted_epoch, "offset") AT TIME ZONE 'UTC', horizon
    ) AS until_at
FROM chain JOIN horizons USING (partition)
WHERE kind = 'change' AND accepted_epoch IS NOT NULL;

-- Each loss and each gain of eligibility.
CREATE OR REPLACE TEMP VIEW flips AS
SELECT * EXCLUDE (was) FROM (
    SELECT *, lag(eligible) OVER (PARTITION BY node_id, profile_id ORDER BY epoch) AS was FROM decisions
)
WHERE eligible IS DISTINCT FROM was AND (was IS NOT NULL OR eligible);

CREATE OR REPLACE TEMP VIEW refused AS
SELECT *, logged_at AT TIME ZONE 'UTC' AS refused_at
FROM read_parquet(getvariable('archive') || '/dead-letters/**/*.parquet');

-- Registrations that were not refused.
CREATE OR REPLACE TEMP VIEW registered AS
SELECT found.*, found.logged_at AT TIME ZONE 'UTC' AS registered_at
FROM read_parquet(getvariable('archive') || '/registrations/**/*.parquet') AS found
ANTI JOIN refused ON source_topic = 'registrations' AND source_partition = found.partition AND source_offset = found."offset";

-- Paid requests as the routers answered them, each once.
CREATE OR REPLACE TEMP VIEW requests AS
SELECT allowed, code, model_id, node_id, profile_id, decided_at AT TIME ZONE 'UTC' AS asked_at
FROM read_parquet(getvariable('archive') || '/routing-decisions/**/*.parquet')
WHERE decision_id IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY decision_id ORDER BY partition, "offset") = 1;

-- Paid requests that were sent to a node, with the price that was decided then; what 28 digits cannot hold has no price.
CREATE OR REPLACE TEMP VIEW dispatches AS
WITH offers AS (
    FROM decisions QUALIFY row_number() OVER (PARTITION BY node_id, profile_id, from_at ORDER BY epoch DESC) = 1
)
SELECT asked_at, requests.node_id, requests.profile_id, requests.model_id, route_tier,
    TRY_CAST(price_wei_per_mtok AS DECIMAL(28, 0)) AS price_wei_per_mtok
FROM requests ASOF LEFT JOIN offers
    ON requests.node_id = offers.node_id AND requests.profile_id = offers.profile_id AND asked_at >= from_at
WHERE allowed;
