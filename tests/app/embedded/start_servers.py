"""Start both servers below a directory, print their processes and addresses as JSON, and stay until killed.

Run by the tests as a process of its own: `python -m tests.app.embedded.start_servers <directory>`.
"""

import json
import signal
import sys
from pathlib import Path

from app.embedded.postgres import start_postgres
from app.embedded.valkey import start_valkey

if __name__ == "__main__":
    postgres, valkey = start_postgres(Path(sys.argv[1])), start_valkey(Path(sys.argv[1]))
    report = {"postgres": postgres.pid, "valkey": valkey.pid, "url_owner": postgres.url_owner, "url": valkey.url}
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()
    signal.pause()
