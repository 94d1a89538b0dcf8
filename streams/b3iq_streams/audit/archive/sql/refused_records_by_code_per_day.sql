-- Which records were refused, day by day (UTC): how many of each topic, with which code, on how many partitions?
--
-- A letter written twice, as after a crash, counts once.
SELECT
    refused_at::DATE AS day,
    source_topic AS topic,
    code,
    count(*) AS records,
    count(DISTINCT source_partition) AS partitions
FROM (FROM refused QUALIFY row_number() OVER (
    PARTITION BY source_topic, source_partition, source_offset ORDER BY partition, "offset"
) = 1)
GROUP BY ALL
ORDER BY day, records DESC, topic, code;
