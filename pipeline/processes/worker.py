"""A worker process of Beam's on this machine: ``python -P worker.py LEASH``."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Works for the runner whose address is in the environment; ends with it, whatever happens."""
    # The launcher's own code, whatever packages lie in the working directory.
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from pipeline.processes.leash import take

    take(sys.argv[1])
    from apache_beam.runners.worker import sdk_worker_main  # takes seconds: on the leash already

    try:
        sdk_worker_main.main(sys.argv)
    except BaseException:  # it has said so in the log; its threads would go on
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
