"""What kind of process this is."""

from __future__ import annotations

#: True in launchers and workers: the user's code is imported here to be run, not to be started.
remote = False

#: True in a worker. A ``.remote()`` there is nested in the call that runs.
in_worker = False


class ReachedRun(BaseException):
    """Raised by ``app.run()`` while a launcher imports the script: all above it is defined by then.

    So a plain script needs no ``if __name__ == "__main__":`` around its ``with app.run():``.
    """
