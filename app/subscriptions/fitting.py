"""What of the credit that subscriptions give fits, pure: under the cap of its grant, and into the balance."""

import msgspec

from app.rules.burndown import granted_under_cap
from app.rules.credits import MAX_BALANCE_MICRO
from app.rules.effects import Granted


class Held(msgspec.Struct, frozen=True):
    """What a customer holds when credit comes."""

    of_plans_micro: int
    """What remains of all that plans gave: a cap is of the source, as that of any grant."""
    in_all_micro: int
    """The balance, with what is reserved or set aside, which may come back."""

    def plus(self, amount_micro: int) -> "Held":
        """The same after a plan has given so much."""
        return Held(self.of_plans_micro + amount_micro, self.in_all_micro + amount_micro)


def fitting(granted: Granted, held: Held) -> int:
    """Micro-credits of it that are granted; the balance stays one that can be kept exactly."""
    under_cap_micro = granted_under_cap(granted.amount_micro, held.of_plans_micro, granted.template.cap_micro)
    return max(0, min(under_cap_micro, MAX_BALANCE_MICRO - held.in_all_micro))
