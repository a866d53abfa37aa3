"""One side of the true book, in whole ticks and steps. On purpose not `streamer.book`: what checks a book must not share its faults."""

from bisect import bisect_left, insort


class Ladder:
    """Sizes by *key*, best key first: the price in ticks for asks and its negative for bids, so that both sides read alike."""

    __slots__ = ("keys", "sizes")

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.sizes: dict[int, int] = {}

    def set(self, key: int, size: int) -> int:
        """Set the size at a key, 0 to remove it; the size that was there before."""
        old = self.sizes.pop(key, 0)
        if size:
            self.sizes[key] = size
            if not old:
                insort(self.keys, key)
        elif old:
            del self.keys[bisect_left(self.keys, key)]
        return old

    def copy(self) -> "Ladder":
        """The same levels, apart."""
        twin = Ladder()
        twin.keys, twin.sizes = self.keys.copy(), self.sizes.copy()
        return twin
