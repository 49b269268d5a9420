"""Certificates of a test's own, signed by themselves."""

import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.programs import program

OPENSSL_SECONDS = 10


class Certificate(NamedTuple):
    """Files of a certificate and its key."""

    chain: Path
    key: Path


def make_certificate(directory: Path, *names: str) -> Certificate:
    """Good for these names for a day; each as `IP:127.0.0.1` or `DNS:hooks.example`."""
    made = Certificate(directory / "chain.pem", directory / "key.pem")
    options = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    options += ["-subj", "/CN=test", "-addext", f"subjectAltName={','.join(names)}"]
    command = [program("openssl"), *options, "-keyout", made.key, "-out", made.chain]
    subprocess.run(command, check=True, capture_output=True, timeout=OPENSSL_SECONDS)
    return made
