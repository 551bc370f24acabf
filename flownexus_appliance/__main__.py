"""`python -m flownexus_appliance` is the `flownexus` command."""

import sys

from .cli import main

sys.exit(main())
