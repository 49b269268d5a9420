"""Credit that is bought: packages, and the top-ups that payments became.

Owns        top-up packages and what they give; which payment became which credit block.
Invariants  a payment reference grants once, for ever, per environment: whatever is retried, under whatever key, and
            however many twins come at once. The terms of a package never change; it is only taken off sale.
Tables      topup_packages, topups.
Neighbours  Below: ledger (the block, its price and its reference). Above: nobody; the tenant calls after its payment
            provider has confirmed.
Not mine    The payment itself (the provider); in which order blocks are spent (rules/burndown).
"""
