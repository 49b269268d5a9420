"""When a customer's credit becomes low, runs out, or turns into debt.

What a customer holds is looked at after every entry of the stream, and after all that falls due at one moment. Each
state is compared with the one before it, so what is told depends on the entries alone, and not on how they are cut
into batches.
"""

import msgspec


class Threshold(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where credit is low: an amount, or a percentage of what was granted. The other one is None."""

    amount_micro: int | None = None
    percent: int | None = None
