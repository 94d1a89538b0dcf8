-- For how long did each code block profiles, day by day (UTC)?
--
-- A profile that several codes block counts for each of them; `minutes_as_first` counts it once, for the first in the order
-- of explanation, and adds up to the time that profiles were blocked.
WITH blocked AS (
    SELECT profile, codes, first_code, day, epoch_ms(least(until_at, day + INTERVAL 1 DAY)) - epoch_ms(greatest(from_at, day)) AS ms
    FROM decisions, unnest(generate_series(date_trunc('day', from_at), until_at, INTERVAL 1 DAY)) AS days(day)
    WHERE NOT eligible AND until_at > from_at
)
SELECT
    day::DATE AS day,
    code,
    round(sum(ms) / 60000, 3) AS minutes,
    round(coalesce(sum(ms) FILTER (WHERE code = first_code), 0) / 60000, 3) AS minutes_as_first,
    count(DISTINCT profile) AS profiles
FROM blocked, unnest(list_distinct(codes)) AS failing(code)
WHERE ms > 0
GROUP BY ALL
ORDER BY day, minutes DESC, code;
