-- How many hours of eligible supply did each model have, by route tier, and from how many nodes?
SELECT
    model_id,
    route_tier,
    round(sum(epoch_ms(until_at) - epoch_ms(from_at)) / 3600000, 3) AS eligible_hours,
    count(DISTINCT node_id) AS nodes,
    count(DISTINCT profile) AS profiles
FROM decisions
WHERE eligible
GROUP BY ALL
ORDER BY eligible_hours DESC, model_id, route_tier;
