-- How long did it take from a node's first registration until each of its profiles was first eligible, and what stood in the way?
--
-- `waited_for` = the codes that blocked the profile before; no time = it never was eligible.
WITH first_registered AS (SELECT node_id, min(registered_at) AS registered_at FROM registered GROUP BY node_id),
first_eligible AS (
    SELECT node_id, profile_id, min(from_at) FILTER (WHERE eligible) AS eligible_at, min(from_at) AS decided_at
    FROM decisions
    GROUP BY ALL
),
waits AS (
    SELECT node_id, profile_id, list_sort(list(DISTINCT code)) AS waited_for
    FROM decisions JOIN first_eligible USING (node_id, profile_id), unnest(codes) AS failing(code)
    WHERE NOT eligible AND (eligible_at IS NULL OR from_at < eligible_at)
    GROUP BY ALL
)
SELECT
    node_id,
    profile_id,
    registered_at,
    eligible_at,
    (epoch_ms(eligible_at) - epoch_ms(registered_at)) / 1000 AS seconds,
    coalesce(waited_for, []) AS waited_for
FROM first_eligible
LEFT JOIN first_registered USING (node_id)
LEFT JOIN waits USING (node_id, profile_id)
ORDER BY seconds DESC NULLS FIRST, node_id, profile_id;
