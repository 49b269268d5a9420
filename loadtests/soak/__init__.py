"""A soak: the whole product under half of the load that the machine takes, for long, and what its processes hold.

`sampling` looks at the processes, `verdict` says whether they stay as they are, and `page` tells of it all. The load,
its probes and its books are those of `loadtests.load`.
"""
