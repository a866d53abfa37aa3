"""What may be said of a Kafka cluster, and what librdkafka is told. What delivery and order rest on cannot be changed by `properties`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

import msgspec
from msgspec import Meta, Struct

from streamer.errors import UsageError, nearest

Seconds = Annotated[float, Meta(ge=0.1, le=3600)]
Format = Literal["json", "msgpack", "avro", "protobuf"]
FIELDS: Final = frozenset(("kind", "exchange"))
"""What a topic's name may be made of."""
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_BRACES = re.compile(r"\{([^{}]*)\}")
KEPT: Final = {
    "acks": "all",
    "enable.idempotence": True,
    "enable.gapless.guarantee": True,  # a batch that fails stops the producer, so that nothing behind it overtakes it
    "message.timeout.ms": 0,  # else librdkafka drops by itself after five minutes
    "partitioner": "murmur2_random",  # a key's partition is the one that Java's clients choose
    "queue.buffering.max.kbytes": 65536,
    "queue.buffering.max.messages": 200_000,
}
"""What every producer of ours is told."""
_SECRETS: Final = frozenset(("sasl_password", "ssl_key_password", "schema_registry_user_info"))
_LONGEST_RECONNECT_MS: Final = 1000
T = TypeVar("T", bound="Link")


class Link(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a cluster is reached. Its repr tells no secret."""

    servers: Annotated[str, Meta(min_length=1, description="`HOST:PORT` of some brokers, with commas.")]
    security: Annotated[
        Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"], Meta(description="Of the connections to the brokers.")
    ] = "plaintext"
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"], Meta(description="With a `sasl_` security.")
    ] = "SCRAM-SHA-512"
    sasl_user: Annotated[str, Meta(description="With a `sasl_` security.")] = ""
    sasl_password: Annotated[str, Meta(description="With it.")] = ""
    ssl_ca: Annotated[str, Meta(description="File of the authority that signed the brokers' certificates.")] = ""
    ssl_certificate: Annotated[str, Meta(description="File of our own certificate, where brokers ask for one.")] = ""
    ssl_key: Annotated[str, Meta(description="File of its key.")] = ""
    ssl_key_password: Annotated[str, Meta(description="Of that file, if it has one.")] = ""
    schema_registry: Annotated[str, Meta(description="Base url of a Schema Registry; wanted for avro and protobuf.")] = ""
    schema_registry_user_info: Annotated[str, Meta(description="`USER:PASSWORD` for it.")] = ""
    properties: Annotated[dict[str, str | int | float | bool], Meta(description="Anything else of librdkafka.")] = {}

    def __repr__(self) -> str:
        shown = {f: getattr(self, f) for f in self.__struct_fields__ if f not in ("properties", *_SECRETS)}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())}, ...)"

    __str__ = __repr__

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Out of plain values. Raises `UsageError` that names the key."""
        unknown = [k for k in options if k not in cls.__struct_fields__]
        if unknown:
            raise UsageError(f"kafka: no option {unknown[0]!r}" + (nearest(unknown[0], cls.__struct_fields__) or f"; {cls._known()}"))
        try:
            made = msgspec.convert(dict(options), cls)
        except msgspec.ValidationError as e:
            what, _, where = str(e).partition(" - at `$.")
            raise UsageError(f"kafka: {where.rstrip('`') or 'options'}: {what}") from None
        made.check()
        return made

    @classmethod
    def _known(cls) -> str:
        return f"one of {', '.join(cls.__struct_fields__)}"

    def check(self) -> None:
        """Raises `UsageError` for what contradicts itself."""
        if self.security.startswith("sasl") and self.sasl_mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            if not (self.sasl_user and self.sasl_password):
                raise UsageError(f"kafka: security {self.security!r} with {self.sasl_mechanism} wants sasl_user and sasl_password")
        elif self.sasl_password and not self.security.startswith("sasl"):
            raise UsageError(f"kafka: sasl_password has no effect with security {self.security!r}; say sasl_ssl")

    @property
    def user_info(self) -> str:
        """`USER:PASSWORD` for the Schema Registry, as an ordinary text."""
        return str(self.schema_registry_user_info)

    def common(self) -> dict[str, Any]:
        """What producers, consumers and admin clients are told alike. Holds secrets. Raises `UsageError` for a file that is not there."""
        conf: dict[str, Any] = {
            "bootstrap.servers": self.servers,
            "client.id": "streamer",
            "security.protocol": self.security,
            "reconnect.backoff.max.ms": _LONGEST_RECONNECT_MS,
        }
        if self.security.startswith("sasl"):
            conf |= {"sasl.mechanism": self.sasl_mechanism, "sasl.username": self.sasl_user, "sasl.password": self.sasl_password}
        for key, path in (("ca", self.ssl_ca), ("certificate", self.ssl_certificate), ("key", self.ssl_key)):
            if path:
                if not Path(path).is_file():
                    raise UsageError(f"kafka: ssl_{key}: there is no file {path!r}")
                conf[f"ssl.{key}.location"] = path
        if self.ssl_key_password:
            conf["ssl.key.password"] = self.ssl_key_password
        return {k: _plain(v) for k, v in (conf | self.properties).items()}


class KafkaOptions(Link, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The options of the sink `kafka`."""

    topic: Annotated[str, Meta(description="Name of the topics, of `{kind}` and `{exchange}`.")] = "md.{kind}"
    format: Annotated[Format, Meta(description="Of the values.")] = "json"
    create_topics: Annotated[bool, Meta(description="Make topics that are not there.")] = False
    partitions: Annotated[int, Meta(ge=1, le=10_000, description="Of a topic that is made. It should never change after.")] = 12
    replication: Annotated[int, Meta(ge=-1, le=32, description="Replicas of a topic that is made; -1: as the cluster has it.")] = -1
    retention_hours: Annotated[float, Meta(ge=0, description="Of a topic that is made; 0: as the cluster has it.")] = 0.0
    latest_books: Annotated[
        str,
        Meta(description="Compacted topic for the latest snapshot of every book, from which a reader can begin."),
    ] = ""
    latest_every_s: Annotated[Seconds, Meta(description="How often a book that changed is put there.")] = 10.0
    compression: Annotated[Literal["none", "lz4", "zstd", "gzip", "snappy"], Meta(description="Of batches.")] = "lz4"
    linger_ms: Annotated[float, Meta(ge=0, le=1000, description="How long a batch of a partition waits for more.")] = 5.0
    max_message_bytes: Annotated[
        int, Meta(ge=1024, le=1 << 28, description="Of a message; a larger one is refused. A topic's own limit counts when it is lower.")
    ] = 900_000
    timeout_s: Annotated[Seconds, Meta(description="The sink is down when nothing was acknowledged for so long.")] = 10.0

    def check(self) -> None:
        """Raises `UsageError`: the names of topics, a registry that is missing, properties that the contract rests on."""
        super().check()
        for name in (self.topic, *filter(None, [self.latest_books])):
            fields = set(_BRACES.findall(name))
            if fields - FIELDS:
                raise UsageError(f"kafka: topic {name!r} may be made of {{kind}} and {{exchange}}, not of {{{min(fields - FIELDS)}}}")
            if _TOPIC.fullmatch(_BRACES.sub("x", name)) is None:
                raise UsageError(f"kafka: {name!r} is no name of a topic: letters, digits, '.', '_' and '-' only, at most 249")
        if "kind" not in _BRACES.findall(self.topic) and self.format in ("avro", "protobuf"):
            raise UsageError(f"kafka: topic {self.topic!r} would hold all kinds; with {self.format} it wants a {{kind}} in it")
        if self.format in ("avro", "protobuf") and not self.schema_registry:
            raise UsageError(f"kafka: format {self.format!r} wants schema_registry = URL")
        for key in self.properties:
            if key in KEPT or key in _SAID_ELSEWHERE:
                raise UsageError(f"kafka: properties.{key} cannot be set: {_SAID_ELSEWHERE.get(key, 'delivery and order rest on it')}")

    def producer(self, max_bytes: int) -> dict[str, Any]:
        """What a producer is told. `max_bytes`: of a request's batch, and so of a message. Holds secrets."""
        tuned = {
            "linger.ms": self.linger_ms,
            "compression.type": self.compression,
            "message.max.bytes": max_bytes,
            "batch.size": min(1_000_000, max_bytes),
            "batch.num.messages": 10_000,
            "statistics.interval.ms": 0,
        }
        return self.common() | tuned | KEPT | {k: _plain(v) for k, v in self.properties.items()}

    def topic_of(self, kind: str, exchange: str) -> str:
        """The topic of a stream. Raises `UsageError` when the name of the exchange makes no topic."""
        name = self.topic.replace("{kind}", kind).replace("{exchange}", exchange)
        if _TOPIC.fullmatch(name) is None:
            raise UsageError(f"kafka: {name!r:.80} is no name of a topic")
        return name


_SAID_ELSEWHERE: Final = {
    "bootstrap.servers": "say servers",
    "security.protocol": "say security",
    "sasl.password": "say sasl_password",
    "sasl.username": "say sasl_user",
    "compression.type": "say compression",
    "linger.ms": "say linger_ms",
    "message.max.bytes": "say max_message_bytes",
    "max.in.flight.requests.per.connection": "idempotence rests on it",
    "retries": "delivery rests on it",
    "delivery.timeout.ms": "delivery rests on it",
    "transactional.id": "transactions are not supported",
    "request.required.acks": "delivery rests on it",
    "delivery.report.only.error": "confirmation rests on it",
}


def _plain(value: Any) -> Any:
    """A secret of the daemon's as an ordinary text."""
    return str(value) if isinstance(value, str) else value
