"""HTX, once Huobi: spot, USDT-margined contracts, coin-margined swaps and futures. https://www.htx.com/en-us/opend/newApiPages/"""

import gzip

from streamer.sim.venue import Venue
from streamer.sim.venues.htx.heard import SOCKETS, confused, heard, opened
from streamer.sim.venues.htx.listed import contract_info, lists, open_interest, symbols

PATHS = ("/linear-swap-api/v1/swap", "/swap-api/v1/swap", "/api/v1/contract")
VENUE = Venue(
    name="htx",
    lists=lists,
    sockets=list(SOCKETS),
    rest={"/v1/common/symbols": symbols}
    | {f"{path}_contract_info": contract_info for path in PATHS}
    | {f"{path}_open_interest": open_interest for path in PATHS},
    heard=heard,
    opened=opened,
    pack=lambda data: gzip.compress(data, 1),
    confused=confused,
)
