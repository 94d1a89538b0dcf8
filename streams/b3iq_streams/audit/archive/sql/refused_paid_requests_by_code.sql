-- How many paid requests were refused, by code, and what share of all requests is that?
SELECT
    code,
    count(*) AS refused,
    round(100 * count(*) / sum(count(*)) OVER (), 2) AS percent_of_refused,
    round(100 * count(*) / (SELECT count(*) FROM requests), 2) AS percent_of_requests
FROM requests
WHERE NOT allowed
GROUP BY code
ORDER BY refused DESC, code;
