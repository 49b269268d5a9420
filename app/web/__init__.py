"""HTTP, the same for every route: who asks, strict bodies, problem documents, pages, request ids, forwarding."""
