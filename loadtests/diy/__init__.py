"""What is often built in a day in place of this product; the benchmarks run it beside the edge.

It has an environment of its own, made from `requirements.txt`, because nothing here depends on what it depends on.
"""
