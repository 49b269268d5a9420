"""What the model says where something does not hold."""


class Violation(AssertionError):
    """One of the protocol's promises is broken; `kind` names it, the text says where and how."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def check(holds: bool, kind: str, *details: object) -> None:  # noqa: FBT001 - it stands where an assert would
    """Raise Violation unless something holds."""
    if not holds:
        raise Violation(kind, f"{kind}: {', '.join(map(str, details))}")
