"""The appliance's own package is outside the repository's packages: it lies where it will lie in a tree."""

import sys
from pathlib import Path

APPLIANCE = Path(__file__).resolve().parents[3] / "image" / "appliance" / "files" / "usr" / "lib" / "appliance"

if str(APPLIANCE) not in sys.path:
    sys.path.insert(0, str(APPLIANCE))
