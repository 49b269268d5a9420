"""`quotastack run` with stand-ins for the roles and the migration."""

import sys

from app.embedded.errors import EmbeddedError
from app.embedded.stack import Commands, run_stack

STAND_IN = (sys.executable, "-m", "tests.app.embedded.stand_in")
COMMANDS = Commands({role: (*STAND_IN, role) for role in ("core", "edge", "flusher", "jobs")}, (*STAND_IN, "migrate"))

if __name__ == "__main__":
    try:
        run_stack(commands=COMMANDS)
    except EmbeddedError as error:
        sys.exit(str(error))
