"""What kind of process this is."""

from __future__ import annotations

from collections.abc import Callable

#: True in launchers and workers: the user's code is imported here to be run, not to be started.
remote = False

#: True in a worker. A ``.remote()`` there is nested in the call that runs.
in_worker = False

#: In a worker whose body is a coroutine: cancels it. None where the body is interrupted instead.
cancel_body: Callable[[], None] | None = None
CANCELLED = "the caller cancelled this call, or it ran longer than its timeout"


class ReachedRun(BaseException):
    """Raised by ``app.run()`` while a launcher imports the script: all above it is defined by then.

    So a plain script needs no ``if __name__ == "__main__":`` around its ``with app.run():``.
    """
