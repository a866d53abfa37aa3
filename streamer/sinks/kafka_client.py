"""librdkafka from an event loop: blocking calls in threads that nothing waits for at exit, errors by a few words, its log in ours."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError

log = logging.getLogger(__name__)
T = TypeVar("T")

_UNAUTHORIZED: Final = frozenset((
    KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
))  # fmt: skip
_NO_TOPIC: Final = frozenset((
    KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.TOPIC_EXCEPTION,
))  # fmt: skip
_REJECTED: Final = {
    KafkaError.MSG_SIZE_TOO_LARGE: "too_large",
    KafkaError.RECORD_LIST_TOO_LARGE: "too_large",
    KafkaError.INVALID_RECORD: "rejected",
    KafkaError.POLICY_VIOLATION: "rejected",
    KafkaError.INVALID_TIMESTAMP: "rejected",
}
"""What a broker says of one message, for which its whole batch fails."""
_UNREACHABLE: Final = frozenset((
    KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT, KafkaError._SSL,
    KafkaError._MSG_TIMED_OUT,
))  # fmt: skip


def reason_of(error: KafkaError) -> str:
    """unauthorized, no_topic, too_large, rejected, unreachable, fatal or broker."""
    code = error.code()
    if code in _UNAUTHORIZED:
        return "unauthorized"
    if code in _NO_TOPIC:
        return "no_topic"
    if code in _REJECTED:
        return _REJECTED[code]
    if error.fatal() or code in (KafkaError._FATAL, KafkaError._GAPLESS_GUARANTEE, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
        return "fatal"
    return "unreachable" if code in _UNREACHABLE else "broker"


async def aside(function: Callable[..., T], *args: Any) -> T:
    """Call what blocks in a thread of its own. Cancelled, it is left to itself; at exit nobody waits for it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    threading.Thread(target=_run, args=(loop, future, function, *args), name="kafka", daemon=True).start()
    try:
        return await future
    finally:
        del future  # it holds the error, whose traceback holds this frame and those of its callers: a ring that only the collector ends


def _run(loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], function: Callable[..., T], *args: Any) -> None:
    result, error = None, None
    try:
        result = function(*args)
    except BaseException as e:  # noqa: BLE001  (it is raised where it is waited for)
        error = e
    try:
        loop.call_soon_threadsafe(_settle, future, result, error)
    except RuntimeError:
        log.debug("%s came back after the loop had closed", function)
    finally:
        del future, error  # the traceback holds this frame


def _settle(future: asyncio.Future[T], result: T | None, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)  # type: ignore[arg-type]
    else:
        future.set_exception(error)


class Relay:
    """What librdkafka logs, for debugging only: it tells every attempt to connect, and the runner tells once that a sink is down."""

    def log(self, level: int, text: str, *args: Any) -> None:
        """As `logging.Logger.log`."""
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s", ascii(text % args)[1:-1])
