-- Which of these customers have no account yet.
SELECT c.id, c.end_user_id
FROM customers c
LEFT JOIN accounts a ON a.environment_id = c.environment_id AND a.id = c.id
WHERE c.environment_id = $1 AND c.id = ANY($2::uuid[]) AND a.id IS NULL
