-- Which profiles lost their eligibility more than once, how often, and for what?
--
-- `most_in_an_hour` = losses within any sixty minutes, `code_most_often` = the first code of the most losses.
WITH losses AS (
    SELECT profile, node_id, profile_id, from_at, first_code,
        count(*) OVER (
            PARTITION BY node_id, profile_id ORDER BY from_at RANGE BETWEEN CURRENT ROW AND INTERVAL 1 HOUR FOLLOWING
        ) AS within_an_hour
    FROM flips
    WHERE NOT eligible
),
causes AS (
    SELECT profile, first_code, count(*) AS times
    FROM losses
    GROUP BY profile, first_code
    QUALIFY row_number() OVER (PARTITION BY profile ORDER BY times DESC, first_code) = 1
)
SELECT
    node_id,
    profile_id,
    count(*) AS losses,
    max(within_an_hour) AS most_in_an_hour,
    any_value(causes.first_code) AS code_most_often,
    min(from_at) AS first_loss,
    max(from_at) AS last_loss
FROM losses JOIN causes USING (profile)
GROUP BY node_id, profile_id
HAVING count(*) > 1
ORDER BY losses DESC, node_id, profile_id;
