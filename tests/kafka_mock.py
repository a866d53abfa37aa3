"""A Kafka cluster for tests: librdkafka's own mock brokers, out of the confluent-kafka wheel, driven by ctypes.

    with MockKafka(brokers=3) as kafka: ...        kafka.servers; real TCP listeners on 127.0.0.1, for any client in any process
    python -m tests.kafka_mock [BROKERS]           prints the servers, and ends when its stdin does

Numbers of errors and requests are those of Kafka's protocol (https://kafka.apache.org/protocol). An error that is pushed is taken by the
next request of that sort on any broker, first come first served; `clear` what a test did not use. A partition keeps about 5 MB.
"""

import ctypes as c
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import confluent_kafka

PRODUCE, FETCH, METADATA, INIT_PRODUCER_ID = 0, 1, 3, 22
NOT_LEADER, REQUEST_TIMED_OUT, TOO_LARGE, NOT_ENOUGH_REPLICAS, TOPIC_AUTH, CLUSTER_AUTH = 6, 7, 10, 19, 29, 31
POLICY_VIOLATION, OUT_OF_ORDER, STORAGE, UNKNOWN_TOPIC, DROP_CONNECTION = 44, 45, 56, 3, -195

_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "rd_kafka_conf_new": (c.c_void_p, []),
    "rd_kafka_conf_set": (c.c_int, [c.c_void_p, c.c_char_p, c.c_char_p, c.c_char_p, c.c_size_t]),
    "rd_kafka_new": (c.c_void_p, [c.c_int, c.c_void_p, c.c_char_p, c.c_size_t]),
    "rd_kafka_destroy": (None, [c.c_void_p]),
    "rd_kafka_mock_cluster_new": (c.c_void_p, [c.c_void_p, c.c_int]),
    "rd_kafka_mock_cluster_bootstraps": (c.c_char_p, [c.c_void_p]),
    "rd_kafka_mock_cluster_destroy": (None, [c.c_void_p]),
    "rd_kafka_mock_topic_create": (c.c_int, [c.c_void_p, c.c_char_p, c.c_int, c.c_int]),
    "rd_kafka_mock_topic_set_error": (None, [c.c_void_p, c.c_char_p, c.c_int]),
    "rd_kafka_mock_partition_set_leader": (c.c_int, [c.c_void_p, c.c_char_p, c.c_int32, c.c_int32]),
    "rd_kafka_mock_broker_set_down": (c.c_int, [c.c_void_p, c.c_int32]),
    "rd_kafka_mock_broker_set_up": (c.c_int, [c.c_void_p, c.c_int32]),
    "rd_kafka_mock_broker_set_rtt": (c.c_int, [c.c_void_p, c.c_int32, c.c_int]),
    "rd_kafka_mock_push_request_errors_array": (None, [c.c_void_p, c.c_int16, c.c_size_t, c.POINTER(c.c_int)]),
    "rd_kafka_mock_clear_request_errors": (None, [c.c_void_p, c.c_int16]),
}
PRODUCER = 0


def _library() -> c.CDLL:
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    library = c.CDLL(str(next(folder.glob("librdkafka*.so*"))))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class MockKafka:
    """The cluster. Brokers are numbered from 1."""

    def __init__(self, brokers: int = 3) -> None:
        self._lib = _library()
        why = c.create_string_buffer(512)
        conf = self._lib.rd_kafka_conf_new()
        self._lib.rd_kafka_conf_set(conf, b"log_level", b"3", why, 512)  # it warns that its own client has no servers
        self._client = self._lib.rd_kafka_new(PRODUCER, conf, why, 512)
        if not self._client:
            raise RuntimeError(why.value.decode())
        self._cluster = self._lib.rd_kafka_mock_cluster_new(self._client, brokers)
        self.brokers = range(1, brokers + 1)
        self.servers: str = self._lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def topic(self, name: str, partitions: int = 4) -> None:
        """Make one. Otherwise it is made at the first request for it, with 4 partitions."""
        error = self._lib.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, min(3, len(self.brokers)))
        assert not error, f"topic {name} was not made: {error}"

    def topic_error(self, name: str, error: int) -> None:
        """Metadata of this topic come with this error; 0 for none."""
        self._lib.rd_kafka_mock_topic_set_error(self._cluster, name.encode(), error)

    def down(self, *brokers: int) -> None:
        """Their connections are cut, and they refuse new ones. All if none is named."""
        for broker in brokers or self.brokers:
            self._lib.rd_kafka_mock_broker_set_down(self._cluster, broker)

    def up(self, *brokers: int) -> None:
        """They are there again."""
        for broker in brokers or self.brokers:
            self._lib.rd_kafka_mock_broker_set_up(self._cluster, broker)

    def slow(self, ms: int) -> None:
        """Every answer takes so long."""
        for broker in self.brokers:
            self._lib.rd_kafka_mock_broker_set_rtt(self._cluster, broker, ms)

    def lead(self, topic: str, partition: int, broker: int) -> None:
        """Another leader."""
        self._lib.rd_kafka_mock_partition_set_leader(self._cluster, topic.encode(), partition, broker)

    def errors(self, request: int, *errors: int) -> None:
        """The next requests of this sort are answered so."""
        self._lib.rd_kafka_mock_push_request_errors_array(self._cluster, request, len(errors), (c.c_int * len(errors))(*errors))

    def clear(self, request: int) -> None:
        """Forget errors that nobody took."""
        self._lib.rd_kafka_mock_clear_request_errors(self._cluster, request)

    def close(self) -> None:
        """All gone."""
        self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
        self._lib.rd_kafka_destroy(self._client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


if __name__ == "__main__":
    with MockKafka(int(sys.argv[1]) if len(sys.argv) > 1 else 3) as cluster:
        print(cluster.servers, flush=True)
        sys.stdin.read()
