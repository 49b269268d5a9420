"""A stand-in for a role: enough of core's and the edge's HTTP for the supervisor, and nothing behind it.

Run as `python -m tests.app.embedded.stand_in <role>`. It writes its environment to `<VAR_DIR>/<role>.env.json`. Core
keeps its keys, and what was made, in files, so that a test can look at them.
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

VAR_DIR = Path(os.environ["VAR_DIR"])


class Core(BaseHTTPRequestHandler):
    """Readiness, tenants, features, plans and variants."""

    def do_GET(self) -> None:
        """Answer readiness, and the list of features to whoever has a key."""
        known = self.path in {"/readyz", "/livez"} or self.bearer in read("keys")
        self.answer(200 if known else 401, {})

    def do_POST(self) -> None:
        """Make what is asked for."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/tenants":
            if self.bearer != os.environ["ADMIN_TOKEN"]:
                return self.answer(401, {})
            number = len(read("keys")) // 2 + 1
            keys = [f"qs_test_{number}", f"qs_live_{number}"]
            write("keys", read("keys") + keys)
            return self.answer(201, {"tenant_id": f"ten_{number}", "sandbox_key": keys[0], "live_key": keys[1]})
        write("made", [*read("made"), [self.bearer, self.path, body]])
        is_variant = self.path.endswith("/variants")
        return self.answer(
            201, {"plan_variant_id": f"var_{self.bearer}_{self.path.split('/')[3]}"} if is_variant else {}
        )

    @property
    def bearer(self) -> str:
        """The key that was sent."""
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def answer(self, status: int, body: object) -> None:
        """Send JSON."""
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def read(name: str) -> list[Any]:
    """What core remembers under a name."""
    path = VAR_DIR / f"stand-in-{name}.json"
    return json.loads(path.read_text()) if path.exists() else []


def write(name: str, content: object) -> None:
    """Remember something."""
    (VAR_DIR / f"stand-in-{name}.json").write_text(json.dumps(content))


def serve(role: str) -> None:
    """Be a role until told to stop."""
    (VAR_DIR / f"{role}.env.json").write_text(json.dumps(dict(os.environ)))
    if os.environ.get("STAND_IN_FAILS") == role:
        sys.exit("the stand-in was told to fail")
    if role == "migrate":
        return
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if role in {"core", "edge"}:
        address = os.environ[f"{role.upper()}_HOST"], int(os.environ[f"{role.upper()}_PORT"])
        ThreadingHTTPServer(address, Core).serve_forever()
    while True:
        signal.pause()


if __name__ == "__main__":
    serve(sys.argv[1])
