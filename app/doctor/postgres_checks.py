"""What has to be so in Postgres."""

from datetime import timedelta

from app.doctor.patient import Check, Patient, Verdict, ok, problem, warning
from app.io.migrate import ROLES
from app.io.postgres import Transaction, applied_steps, known_steps
from app.ledger import evidence
from app.ledger.verify import KEYED, WRITTEN_ONCE

LEAST_POSTGRES = 15
"""The oldest major version that is supported."""
MOST_CONNECTIONS_PERCENT = 80
MONTHS_AHEAD = 2
"""Months from now on whose partitions have to be there; jobs keeps more."""
KEY_NOTICE = timedelta(days=14)
"""How long before its end an API key is told."""
KEY_USED = timedelta(days=7)
"""How long ago a key may have been used that counts as in use."""


async def look_at_version(patient: Patient) -> Verdict:
    """Postgres answers, is new enough, and takes writes."""
    [server] = await patient.fetch("read_server")
    seen = f"Postgres {server['shown']}"
    if server["version"] // 10_000 < LEAST_POSTGRES:
        return problem(seen, f"Move to Postgres {LEAST_POSTGRES} or newer.")
    if server["is_standby"]:
        return problem(f"{seen} is a standby", "Set the addresses to the primary, or promote this one.")
    return ok(seen)


async def look_at_writes(patient: Patient) -> Verdict:
    """What is committed is on disk."""
    [server] = await patient.fetch("read_server")
    names = ("fsync", "full_page_writes", "synchronous_commit")
    wrong = [name for name in names if server[name] == "off"]
    if wrong:
        return problem(f"{', '.join(wrong)} off", "Set it to on: a loss of power can lose or spoil committed entries.")
    return ok("committed is on disk")


async def look_at_connections(patient: Patient) -> Verdict:
    """There is room for more connections."""
    [server] = await patient.fetch("read_server")
    seen = f"{server['connections']} of {server['most_connections']} connections"
    if server["connections"] * 100 >= server["most_connections"] * MOST_CONNECTIONS_PERCENT:
        return warning(seen, "Raise max_connections, or run fewer processes of core.")
    return ok(seen)


async def look_at_migrations(patient: Patient) -> Verdict:
    """The schema is the one of this release."""

    async def read(tx: Transaction) -> list[str]:
        return await applied_steps(tx.connection)

    applied, known = set(await patient.work(read)), set(known_steps())
    if missing := sorted(known - applied):
        return problem(f"missing: {', '.join(missing)}", "Run `quotastack migrate`.")
    if newer := sorted(applied - known):
        remedy = "Run this command, and every process, from the release that migrated."
        return problem(f"this release does not know {', '.join(newer)}", remedy)
    return ok(f"schema {max(known)}")


async def look_at_roles(patient: Patient) -> Verdict:
    """Each process has a role of its own that can do no more than it needs."""
    roles = await patient.fetch("read_roles", list(ROLES))
    if missing := [role["name"] for role in roles if not role["is_there"]]:
        return problem(f"no role {', '.join(missing)}", "Run `quotastack migrate`.")
    if mighty := [role["name"] for role in roles if role["is_mighty"]]:
        remedy = "Take that away: ALTER ROLE … NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION."
        return problem(f"{', '.join(mighty)} could do more than it needs", remedy)
    expected = {role.replace("quotastack_", "quotastack "): role for role in ROLES}
    for session in await patient.fetch("list_sessions"):
        name = session["application_name"]
        if expected.get(name, session["role"]) != session["role"]:
            seen = f"{name.removeprefix('quotastack ')} is logged in as {session['role']}"
            return problem(seen, f"Give it the address of {expected[name]}: another role may see every environment.")
    return ok("each process has its own")


async def look_at_row_security(patient: Patient) -> Verdict:
    """The rows of environments are kept apart by Postgres itself."""
    if tables := [row["name"] for row in await patient.fetch("list_open_tables")]:
        remedy = "Turn it on: ALTER TABLE … ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY."
        return problem(f"off for {', '.join(tables)}", remedy)
    return ok("forced on every table of environments")


async def look_at_guards(patient: Patient) -> Verdict:
    """What keeps keys single and the ledger's rows as they are is in its place."""
    tables = sorted({*KEYED, *WRITTEN_ONCE})
    guards = await patient.work(lambda tx: evidence.read_guards(tx, tables))
    lost = [f"{guard.table} its key" for guard in guards if guard.table in KEYED and not guard.has_key]
    lost += [
        f"{guard.table} its trigger" for guard in guards if guard.table in WRITTEN_ONCE and not guard.refuses_change
    ]
    if lost:
        remedy = "ENABLE ALWAYS TRIGGER written_once on each; then `quotastack ledger verify`: rows may have changed."
        return problem(f"lost: {', '.join(lost)}", remedy)
    return ok("keys and triggers are in place")


async def look_at_partitions(patient: Patient) -> Verdict:
    """Usage events of the month and of the next one have their partition."""
    if months := [row["month"] for row in await patient.fetch("list_missing_partitions", MONTHS_AHEAD)]:
        return warning(
            f"none for {', '.join(months)}", "See that jobs runs: it makes them. The flusher makes one itself."
        )
    return ok(f"of {MONTHS_AHEAD} months")


async def look_at_keys(patient: Patient) -> Verdict:
    """No API key is about to end that somebody uses still."""
    now = patient.now()
    keys = await patient.fetch("list_expiring_keys", now, now + KEY_NOTICE, now - KEY_USED)
    if keys:
        first = keys[0]
        seen = (
            f"{len(keys)} within {KEY_NOTICE.days} days, first {first['display_prefix']}… on {first['expires_at']:%F}"
        )
        return warning(seen, "Tell its tenant to take another one: it is in use still.")
    return ok(f"none that is in use ends within {KEY_NOTICE.days} days")


CHECKS = (
    Check("postgres", look_at_version),
    Check("postgres-writes", look_at_writes),
    Check("postgres-connections", look_at_connections),
    Check("migrations", look_at_migrations),
    Check("roles", look_at_roles),
    Check("row-security", look_at_row_security),
    Check("guards", look_at_guards),
    Check("partitions", look_at_partitions),
    Check("api-keys", look_at_keys),
)
