"""`var/dev.json`: the running stack, for programs.

It is written once everything answers and removed on the way down; one left by a run that was killed goes with the next.
"""

from pathlib import Path

import msgspec

from app.embedded.private_files import read_private, write_private


class DevStack(msgspec.Struct, frozen=True):
    """Addresses, keys and processes of a running stack.

    `pids` has `core`, `edge`, `flusher`, `jobs`, `postgres` and `redis`: the process whose death ends the whole part,
    or None for a server that is not ours.
    """

    core_url: str
    edge_url: str
    admin_token: str
    tenant_id: str
    sandbox_key: str
    live_key: str
    plan_variant_id: str
    feature_key: str
    database_url: str
    redis_url: str
    pids: dict[str, int | None]


def _path(var_dir: Path) -> Path:
    return var_dir / "dev.json"


def write_dev_stack(var_dir: Path, stack: DevStack) -> None:
    """Publish the running stack."""
    write_private(_path(var_dir), stack)


def read_dev_stack(var_dir: Path) -> DevStack | None:
    """Answer the running stack, None when there is none."""
    return read_private(_path(var_dir), DevStack)


def remove_dev_stack(var_dir: Path) -> None:
    """Take the file away: the stack is starting or stopping."""
    _path(var_dir).unlink(missing_ok=True)
