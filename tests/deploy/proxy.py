"""nginx with the configuration of a deployment, at addresses of this machine."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from app.embedded.role import RoleProcess
from tests.certificates import Certificate
from tests.deploy.files import NGINX
from tests.ports import free_port
from tests.programs import program
from tests.waiting import wait_until

START_SECONDS, STOP_SECONDS = 10, 5


class Upstreams(NamedTuple):
    """The ports of the two processes."""

    core: int
    edge: int


def localized(port: int, upstreams: Upstreams, certificate: Certificate | None = None, more: str = "") -> str:
    """The configuration at these ports, with TLS where there is a certificate; `more` are further servers."""
    listen = f"listen 127.0.0.1:{port};"
    if certificate is not None:
        files = f"ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key};"
        listen = f"listen 127.0.0.1:{port} ssl; {files}"
    text = NGINX.replace("listen 8080;", listen)
    text = text.replace("pid /tmp/nginx.pid;", "pid nginx.pid;").replace("/dev/stderr", "error.log")
    text = text.replace("server core:8000 resolve;", f"server 127.0.0.1:{upstreams.core};")
    text = text.replace("server edge:8001 resolve;", f"server 127.0.0.1:{upstreams.edge};")
    return text.rstrip().removesuffix("}") + more + "}\n"


@contextmanager
def running_proxy(
    directory: Path, upstreams: Upstreams, certificate: Certificate | None = None, more: str = ""
) -> Iterator[int]:
    """An nginx with this configuration; its port."""
    nginx = program("nginx")
    port = free_port()
    (directory / "nginx.conf").write_text(localized(port, upstreams, certificate, more))
    log = directory / "nginx.log"
    command = [nginx, "-p", str(directory), "-c", "nginx.conf", "-e", "error.log", "-g", "daemon off;"]
    process = RoleProcess(command, {}, log)
    process.start()

    def listens() -> bool:
        assert not process.has_ended(), log.read_text()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), START_SECONDS).close()
            return True
        return False

    try:
        wait_until(listens, START_SECONDS, "nginx to listen")
        yield port
    finally:
        process.ask_to_stop()
        process.finish_stop(time.monotonic() + STOP_SECONDS)
