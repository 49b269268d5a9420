"""`var/secrets.json`: what this machine's stack must not forget, and nobody else may know."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from app.embedded.environment import SECRETS
from app.embedded.private_files import read_private, write_private

_SECRET_BYTES: Final = 32


class Demo(msgspec.Struct, frozen=True):
    """The demo tenant: core shows its keys once. Without a variant its catalogue is unfinished."""

    tenant_id: str
    sandbox_key: str
    live_key: str
    plan_variant_id: str | None = None


class SecretFile(msgspec.Struct, frozen=True):
    """The file's content; secrets that the environment gives are not in it."""

    secrets: dict[str, str] = {}
    demo: Demo | None = None


def secret_path(var_dir: Path) -> Path:
    """Answer where the file is."""
    return var_dir / "secrets.json"


def load_secrets(var_dir: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Answer the secrets: from the environment, else from the file, else made now and written there."""
    kept = read_private(secret_path(var_dir), SecretFile) or SecretFile()
    made = {name: secrets.token_urlsafe(_SECRET_BYTES) for name in SECRETS if name not in {*given, *kept.secrets}}
    if made:
        kept = msgspec.structs.replace(kept, secrets={**kept.secrets, **made})
        write_private(secret_path(var_dir), kept)
    return {**kept.secrets, **given}


def load_demo(var_dir: Path) -> Demo | None:
    """Answer the demo tenant of an earlier run."""
    kept = read_private(secret_path(var_dir), SecretFile)
    return kept.demo if kept else None


def save_demo(var_dir: Path, demo: Demo) -> None:
    """Remember the demo tenant."""
    kept = read_private(secret_path(var_dir), SecretFile) or SecretFile()
    write_private(secret_path(var_dir), msgspec.structs.replace(kept, demo=demo))


def database_password(secret: str, user: str) -> str:
    """Derive the password of a login role, so that it need not be kept: HMAC-SHA256 in hexadecimal digits."""
    return hmac.new(secret.encode(), f"database role {user}".encode(), hashlib.sha256).hexdigest()
