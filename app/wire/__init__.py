"""What crosses a process border: types, key names, codes, scripts. No I/O; standard library and msgspec only."""
