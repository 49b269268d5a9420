-- Whether the environment has any customer.
SELECT EXISTS (SELECT FROM customers WHERE environment_id = $1)
