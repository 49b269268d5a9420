"""What is right: pure functions on integers. No I/O, no clock, no randomness; standard library and msgspec only."""
