"""Side-by-side benchmarks: each thing measured runs beside the best that its parts can do, in turn, in one run.

The ratios are what counts; the absolute numbers are one machine's. After every run that moves credit the balance is
checked, for a fast wrong number is worth nothing. Everything runs on servers of its own whose data is thrown away,
whatever DATABASE_URL and REDIS_URL say. `python -m loadtests --help` says how to run them, and
`loadtests/results/` holds the last results. The load tests beside them are in `loadtests/load`.
"""
