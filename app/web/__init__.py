"""HTTP, the same for every route: who asks, how often, strict bodies, problem documents, pages, ids, forwarding."""
