"""Whether what is accepted becomes entries, and what falls due is posted: flusher, jobs, and what they found."""

from datetime import timedelta

from app.doctor.patient import Check, Patient, Verdict, ok, problem, warning
from app.io.lag import read_lag
from app.rules.moments import to_at
from app.wire.ids import show

LAG_WARNING, LAG_PROBLEM = timedelta(seconds=10), timedelta(minutes=2)
"""How long an entry may wait to be posted."""
STREAM_PERCENT = 50
"""From so much of STREAM_MAX_ENTRIES on a stream is told; posted entries should have given way by then."""
OVERDUE = timedelta(minutes=1)
"""How long what falls due may wait."""
REJECTED_SINCE = timedelta(days=7)
CHECKPOINT_AGE = timedelta(days=2)
WALK_AGE = timedelta(hours=2)
RELAYED_WITHIN, SENT_WITHIN = timedelta(minutes=1), timedelta(minutes=5)
"""How long an event waits for its place at most, and a webhook that is due to be sent."""
SKEW_SECONDS, MOST_SKEW_SECONDS = 0.5, 5.0
"""How far clocks may be apart."""
SHOWN = 3
"""Accounts that are named."""
_FLUSHER = "See that a flusher runs and what its log says."


async def look_at_leases(patient: Patient) -> Verdict:
    """Every partition has a flusher that posts it."""
    [leases] = await patient.fetch("read_leases")
    if not leases["flushers"]:
        return problem("no flusher is at work", "Start one: usage is taken meanwhile, and waits in Redis.")
    if leases["free"]:
        return problem(f"nobody posts {leases['free']} of {leases['leases']} partitions", _FLUSHER)
    return ok(f"{leases['flushers']} flushers have {leases['leases']} partitions")


async def look_at_lag(patient: Patient) -> Verdict:
    """Entries are posted soon after they were accepted."""
    lag = timedelta(milliseconds=(await read_lag(patient.memory, patient.now())).milliseconds)
    seen = f"the oldest entry waits for {lag.total_seconds():.1f} s"
    remedy = f"{_FLUSHER} Where it is busy all the time, add another one."
    if lag > LAG_PROBLEM:
        return problem(seen, remedy)
    return warning(seen, remedy) if lag > LAG_WARNING else ok(seen if lag else "nothing waits")


async def look_at_streams(patient: Patient) -> Verdict:
    """No stream is near its bound."""
    most, longest = patient.expected.stream_max_entries, (await read_lag(patient.memory, patient.now())).longest
    seen = f"the longest has {longest:,} entries of {most:,}"
    if longest >= most:
        return problem(seen, f"Usage is refused with 503 backlog. {_FLUSHER}")
    return warning(seen, _FLUSHER) if longest * 100 >= most * STREAM_PERCENT else ok(seen)


async def look_at_unpublished(patient: Patient) -> Verdict:
    """What core committed has come to the edge."""
    [row] = await patient.fetch("read_unpublished")
    if row["accounts"]:
        remedy = "See that Redis answers core, and that a flusher runs: it delivers what is left. Then look again."
        return warning(f"{row['accounts']} accounts wait to be published", remedy)
    return ok("nothing waits")


async def look_at_overdue(patient: Patient) -> Verdict:
    """What falls due is posted."""
    now = patient.now()
    [row] = await patient.fetch("read_overdue", now - OVERDUE)
    if row["accounts"]:
        seen = f"{row['accounts']} accounts are overdue, since {row['since']:%F %T} UTC"
        return problem(seen, f"See that jobs runs, and that flush-lag is ok. {_FLUSHER}")
    return ok("nothing is overdue")


async def look_at_reservations(patient: Patient) -> Verdict:
    """No reservation is open past its time."""
    [row] = await patient.fetch("read_overdue_reservations", patient.now() - OVERDUE)
    if row["reservations"]:
        seen = f"{row['reservations']} are open past their time, since {row['since']:%F %T} UTC"
        return problem(seen, "See that jobs runs and reaches Redis: their credit is held until they end.")
    return ok("none is open past its time")


async def look_at_jobs(patient: Patient) -> Verdict:
    """A process of jobs is at work."""
    if not any(session["application_name"] == "quotastack jobs" for session in await patient.fetch("list_sessions")):
        return problem("no jobs process is logged in", "Start one: nothing falls due by itself without it.")
    return ok("it is logged in")


async def look_at_drift(patient: Patient) -> Verdict:
    """Accounts agree with their entries, and the edge with the ledger."""
    [drift] = await patient.fetch("read_drift")
    if drift["adrift"]:
        rows = await patient.fetch("list_drift", SHOWN)
        named = [f"{row['end_user_id']} of {show('env', row['environment_id'])}: {row['findings']}" for row in rows]
        remedy = (
            "Run `quotastack ledger verify --customer …`. If the ledger is clean, the edge alone is wrong: delete the "
            "account's hash in Redis ({p}:acct:…) and it is loaded anew. If not, stop and keep everything as it is."
        )
        return problem(f"{drift['adrift']} accounts since {drift['since']:%F %T} UTC. {' | '.join(named)}", remedy)
    if drift["walked_at"] is None:
        return warning("nobody has looked yet", "See that jobs runs.")
    age = patient.now() - drift["walked_at"]
    seen = f"none of {drift['accounts']} accounts, {age.total_seconds() / 60:.0f} min ago"
    return warning(seen, "See that jobs runs: it looks at all of them all the time.") if age > WALK_AGE else ok(seen)


async def look_at_checkpoints(patient: Patient) -> Verdict:
    """Each environment has a checkpoint of these days."""
    since = patient.now() - CHECKPOINT_AGE
    [row] = await patient.fetch("read_checkpoints", since, since.date())
    if row["environments"]:
        seen = f"{row['environments']} environments have had none for {CHECKPOINT_AGE.days} days"
        return warning(seen, "See that jobs runs and what its log says of checkpoints.")
    return ok(f"every environment has one of the last {CHECKPOINT_AGE.days} days")


async def look_at_rejected(patient: Patient) -> Verdict:
    """Usage that was accepted was posted."""
    rows = await patient.fetch("read_rejected", patient.now() - REJECTED_SINCE)
    if rows:
        by_code = ", ".join(f"{row['entries']} {row['code']}" for row in rows)
        remedy = "GET /v1/usage/rejected of the environment says which and why; repair that, then retry or send again."
        return warning(f"in {REJECTED_SINCE.days} days: {by_code}", remedy)
    return ok(f"none in {REJECTED_SINCE.days} days")


async def look_at_events(patient: Patient) -> Verdict:
    """What happened gets its place in the feed."""
    [row] = await patient.fetch("read_events_to_relay", patient.now() - RELAYED_WITHIN)
    if row["events"]:
        seen = f"{row['events']} events wait for their place, since {row['since']:%F %T} UTC"
        return problem(seen, "See that jobs runs, and what its log says of the rounds of events.")
    return ok("nothing waits")


async def look_at_webhooks(patient: Patient) -> Verdict:
    """Webhooks are sent when they are due, and taken."""
    now = patient.now()
    [row] = await patient.fetch("read_webhooks", now - SENT_WITHIN, now - REJECTED_SINCE)
    if row["overdue"]:
        seen = f"{row['overdue']} queues wait to be sent, since {row['since']:%F %T} UTC"
        return problem(seen, "See that jobs runs, and what its log says of deliveries.")
    if row["failing"] or row["parked"]:
        seen = f"{row['failing']} endpoints take nothing; {row['parked']} deliveries of 7 days were given up"
        return warning(seen, "Tell their owners. GET /v1/webhook-deliveries says what they answered.")
    return ok(f"{row['waiting']} wait")


async def look_at_clocks(patient: Patient) -> Verdict:
    """Postgres, Redis and the machine here agree on the time."""
    skews: dict[str, float] = {}
    if patient.database is not None:
        before = patient.now()
        [row] = await patient.fetch("read_time")
        skews["Postgres"] = ((row["now"] - before) - (patient.now() - before) / 2).total_seconds()
    for number, server in enumerate(await patient.servers()):
        before = to_at(patient.now())
        seconds, microseconds = await server.time()
        theirs = int(seconds) * 1_000_000 + int(microseconds)
        skews[f"Redis {number}"] = (theirs - (before + to_at(patient.now())) // 2) / 1_000_000
    seen = ", ".join(f"{name} {skew:+.2f} s" for name, skew in skews.items())
    worst = max(abs(skew) for skew in skews.values())
    if worst > MOST_SKEW_SECONDS:
        return problem(seen, "Have every machine keep its time by NTP: expiry, keys and windows go by it.")
    return warning(seen, "Have every machine keep its time by NTP.") if worst > SKEW_SECONDS else ok(seen)


CHECKS = (
    Check("flusher", look_at_leases),
    Check("flush-lag", look_at_lag),
    Check("streams", look_at_streams),
    Check("unpublished", look_at_unpublished),
    Check("overdue", look_at_overdue),
    Check("reservations", look_at_reservations),
    Check("jobs", look_at_jobs),
    Check("drift", look_at_drift),
    Check("checkpoints", look_at_checkpoints),
    Check("rejected", look_at_rejected),
    Check("events", look_at_events),
    Check("webhooks", look_at_webhooks),
    Check("clocks", look_at_clocks),
)
