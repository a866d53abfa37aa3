"""All policies under one law: a machine pushes markets through a hub into five mailboxes that are read, emptied and closed at random."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from streamer.errors import SlowConsumer, UsageError
from streamer.mailbox import POLICIES, Policy
from streamer.policies import BOXES, mailbox
from tests.hubs import START, Desk, Reader, market

SYMBOLS = st.sampled_from(["A/B", "C/D"])
READERS = st.sampled_from(POLICIES)
BID = st.tuples(st.integers(92, 100).map(float), st.integers(0, 3).map(float))
ASK = st.tuples(st.integers(101, 109).map(float), st.integers(0, 3).map(float))
SIDES = st.tuples(st.lists(BID, max_size=3, unique_by=lambda x: x[0]), st.lists(ASK, max_size=3, unique_by=lambda x: x[0]))


class Policies(RuleBasedStateMachine):
    """After every step: the identity and the bounds hold. When a reader has read all: it knows what the hub knows (`Reader.check`)."""

    @initialize(items=st.integers(1, 6), size=st.integers(256, 3000), depth=st.sampled_from([None, None, 1, 3]), live=st.booleans())
    def begin(self, items: int, size: int, depth: int | None, live: bool) -> None:
        self.how: dict[str, Any] = {"max_items": items, "max_bytes": size}
        self.depth = depth
        self.desk = Desk(market("A/B"), market("C/D", contract="0.01", keep=4))
        self.readers: dict[Policy, Reader] = {}
        for symbol in self.desk.listed if live else ():
            self.desk.snapshot(symbol)
        for policy in POLICIES:
            self.subscribe(policy)

    def subscribe(self, policy: Policy) -> None:
        kinds = ("book", "ticker", "candle") if policy == "conflate" else ("book", "trade", "ticker", "candle")
        bounds = {"max_items": max(6, self.how["max_items"]), "max_bytes": max(1536, self.how["max_bytes"])}
        self.readers[policy] = Reader(self.desk, mailbox(policy, **(bounds if policy == "conflate" else self.how)), self.depth, kinds)

    @rule(symbol=SYMBOLS, n=st.integers(1, 5))
    def trades(self, symbol: str, n: int) -> None:
        for _ in range(n):
            self.desk.trade(symbol)

    @rule(symbol=SYMBOLS, n=st.integers(1, 3))
    def tickers(self, symbol: str, n: int) -> None:
        for _ in range(n):
            self.desk.ticker(symbol)
            self.desk.candle(symbol)

    @rule(symbol=SYMBOLS, changes=st.lists(SIDES, min_size=1, max_size=4))
    def deltas(self, symbol: str, changes: list[Any]) -> None:
        for bids, asks in changes:
            self.desk.delta(symbol, bids, asks)

    @rule(symbol=SYMBOLS)
    def lost_delta(self, symbol: str) -> None:
        self.desk.delta(symbol, [(99.0, 7.0)], lost=1)

    @rule(symbol=SYMBOLS, levels=SIDES | st.just(START))
    def snapshot(self, symbol: str, levels: Any) -> None:
        self.desk.snapshot(symbol, levels)

    @rule(symbol=SYMBOLS, kind=st.sampled_from(["trade", "ticker", "candle"]), state=st.sampled_from(["stale", "live", "rejected"]))
    def health(self, symbol: str, kind: str, state: str) -> None:
        self.desk.now += 1
        self.desk.stream(symbol, kind).status(state, None, self.desk.now)

    @rule(hand_over=st.booleans())
    def reconnect(self, hand_over: bool) -> None:
        if hand_over:
            self.desk.connect("next")
            self.desk.snapshot("C/D", line="next")
        self.desk.lose()
        if hand_over:
            self.desk.carriers["line"] = self.desk.carriers.pop("next")
        else:
            self.desk.connect("line")

    @rule(most=st.integers(0, 4))
    def all_read(self, most: int) -> None:
        for reader in self.readers.values():
            reader.read(most)

    @rule(policy=READERS)
    def read_to_the_end(self, policy: Policy) -> None:
        self.readers[policy].read()

    @rule(n=st.integers(1, 3))
    def all_pop(self, n: int) -> None:
        for reader in self.readers.values():
            reader.runs.clear()
            for _ in range(n):
                if len(reader.box):
                    reader.take(reader.box.pop())
                else:
                    with pytest.raises(IndexError):
                        reader.box.pop()

    @rule(policy=READERS)
    def close(self, policy: Policy) -> None:
        reader = self.readers[policy]
        reader.leave()
        published = reader.box.published
        self.desk.ticker("A/B")
        assert (len(reader.box), reader.box.queued, reader.box.published) == (0, 0, published)
        reader.bounded()
        self.subscribe(policy)

    @invariant()
    def lawful(self) -> None:
        for policy, reader in list(getattr(self, "readers", {}).items()):
            reader.bounded()
            if reader.box.closed:
                assert policy == "disconnect"
                assert isinstance(reader.box.error, SlowConsumer)
                self.desk.hub.detach(reader.box)
                self.subscribe(policy)

    def teardown(self) -> None:
        for reader in getattr(self, "readers", {}).values():
            reader.read()
            reader.bounded()


def test_all_policies() -> None:
    run_state_machine_as_test(
        Policies, settings=settings(max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
    )


def test_each_policy_has_its_mailbox() -> None:
    assert sorted(p for box in BOXES for p in box.serves) == sorted(POLICIES)
    assert all(mailbox(policy).policy == policy for policy in POLICIES)
    with pytest.raises(UsageError, match=r"policy 'newest' is none of .*drop_oldest"):
        mailbox("newest")  # type: ignore[arg-type]


@pytest.mark.parametrize("bounds", [{"max_items": 0}, {"max_bytes": 255}, {"max_items": -1}])
def test_bounds_leave_room(bounds: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="needs room"):
        mailbox("drop_oldest", **bounds)
