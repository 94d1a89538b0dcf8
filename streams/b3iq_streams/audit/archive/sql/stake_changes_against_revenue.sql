-- Did a change of a node's stake go with a change of its paid requests?
--
-- Each change with the paid requests sent to the node before it (since the change before, or the first registration) and after
-- it (until the next change, or the last epoch), per hour, and with the sum of their prices. The price is that of a million
-- tokens, for no log says how many a request took: compare, do not bill.
WITH stakes AS (
    SELECT node_id, stake_wei, registered_at, lag(stake_wei) OVER seen AS stake_before
    FROM registered
    WHERE stake_wei IS NOT NULL
    WINDOW seen AS (PARTITION BY node_id ORDER BY "offset")
),
spans AS (
    SELECT node_id, stake_before, stake_wei AS stake_after, registered_at AS changed_at,
        lag(registered_at) OVER changed AS before_at,
        coalesce(lead(registered_at) OVER changed, (SELECT max(resolved_at) FROM epochs)) AS after_at
    FROM stakes
    WHERE stake_wei IS DISTINCT FROM stake_before
    WINDOW changed AS (PARTITION BY node_id ORDER BY registered_at)
),
told AS (
    SELECT spans.*,
        count(asked_at) FILTER (WHERE asked_at < changed_at) AS requests_before,
        count(asked_at) FILTER (WHERE asked_at >= changed_at) AS requests_after,
        coalesce(sum(price_wei_per_mtok) FILTER (WHERE asked_at < changed_at), 0) AS prices_before,
        coalesce(sum(price_wei_per_mtok) FILTER (WHERE asked_at >= changed_at), 0) AS prices_after
    FROM spans LEFT JOIN dispatches ON dispatches.node_id = spans.node_id AND asked_at >= before_at AND asked_at < after_at
    WHERE stake_before IS NOT NULL
    GROUP BY ALL
)
SELECT
    node_id,
    changed_at,
    stake_before,
    stake_after,
    requests_before,
    requests_after,
    round(requests_before / (nullif(epoch_ms(changed_at) - epoch_ms(before_at), 0) / 3600000), 3) AS per_hour_before,
    round(requests_after / (nullif(epoch_ms(after_at) - epoch_ms(changed_at), 0) / 3600000), 3) AS per_hour_after,
    prices_before::VARCHAR AS prices_wei_before,
    prices_after::VARCHAR AS prices_wei_after
FROM told
ORDER BY changed_at, node_id;
