"""A chat app that sells a model's tokens by credit, on a QuotaStack of its own: `make demo`. README.md is the tour."""
