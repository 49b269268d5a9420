"""HTTP, the same for every route: who asks and how often, strict bodies, problem documents, pages, request ids, forwarding."""
