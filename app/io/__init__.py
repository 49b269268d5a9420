"""The seams to the outside: the only importers of a database driver, a Redis client, an HTTP client and the clock."""
