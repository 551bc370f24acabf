"""The daemon with a clock that is wrong: this module FILE, and then what `flownexus` takes.

FILE says by how many seconds it is, and may say something else at any time. The daemon looks after its
certificates every 50 ms here.
"""

import sys
import time
from pathlib import Path
from types import SimpleNamespace

from flownexus_appliance.cli import main
from flownexus_appliance.fleet import certificates
from flownexus_appliance.system import clock

if __name__ == "__main__":
    off = Path(sys.argv[1])
    wrong = SimpleNamespace(
        monotonic=time.monotonic, time_ns=lambda: time.time_ns() + int(off.read_text()) * 10**9
    )
    vars(clock)["time"] = wrong
    vars(certificates)["CHECK_PERIOD_S"] = 0.05
    sys.exit(main(sys.argv[2:]))
