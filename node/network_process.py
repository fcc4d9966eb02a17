"""`python -m node.network_process LEVEL FORMAT DESCRIPTOR`: the network, with the node's logs."""

import sys
from typing import Literal, cast

from node.logs import configure_logs
from p2p.child import run

if __name__ == "__main__":
    level, style, descriptor = sys.argv[1:]
    configure_logs("network", level, cast(Literal["json", "console"], style))
    run(int(descriptor))
