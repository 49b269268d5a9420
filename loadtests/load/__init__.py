"""Load tests: scenarios that Locust runs, probes beside them, and the books at the end. docs/load-tests.md says how.

Two processes of two environments share this package. Locust's has no library of the product's, so that what it reads
(`book`, `choosing`, `judging`, `plan`, `stages`, `user`, and `loadtests/scenarios`) imports nothing but the standard
library, Locust and its like. `python -m loadtests.load`, in the product's environment, has the rest.
"""
