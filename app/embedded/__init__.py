"""Postgres and Valkey without an installation, and the supervisor behind `quotastack run`.

Owns        the files under `var/`: data directories, logs, secrets, `dev.json`; the processes started from here.
Invariants  a server listens on a Unix socket in a private directory, never on the network; one server per data
            directory, however many start it; nothing outlives the process that started it, not even its SIGKILL (on
            Linux); what was acknowledged survives every restart.
Neighbours  `app.io.outbound` (HTTP to core and edge). No database driver: a new cluster gets its role and database from
            Postgres' single-user mode.
Not mine    the schema (`quotastack migrate`), the settings of the four roles (`app.settings`, `edge.settings`).

Servers alone, for instance for tests: `postgres.start_postgres(data_dir)` and `valkey.start_valkey(data_dir)`.
"""
