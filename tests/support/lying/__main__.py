"""``python -m tests.support.lying``: started by `tests.support.lyingserver`."""

from tests.support.lying.serving import main

main()
