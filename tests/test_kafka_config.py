"""The options of the Kafka sink: what is refused and how, what librdkafka is told, and that no secret shows."""

import re
from pathlib import Path
from typing import Any

import pytest

from streamer.daemon.credentials import Secret
from streamer.errors import UsageError
from streamer.sinks.kafka_config import KEPT, KafkaOptions, Link
from streamer.sinks.registry import make, options_of

SERVERS = {"servers": "127.0.0.1:9092"}
SASL = {"security": "sasl_ssl", "sasl_user": "me", "sasl_password": "S3CR3T-CANARY"}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "servers"),
    "no servers": ({"servers": ""}, "servers"),
    "unknown": (SERVERS | {"compresion": "lz4"}, "no option 'compresion'; did you mean compression"),
    "type": (SERVERS | {"linger_ms": "5"}, "linger_ms: Expected `float`, got `str`"),
    "word": (SERVERS | {"compression": "lzma"}, "compression: Invalid enum value 'lzma'"),
    "bound": (SERVERS | {"partitions": 0}, "partitions: Expected `int` >= 1"),
    "topic": (SERVERS | {"topic": "md/{kind}"}, "no name of a topic"),
    "field": (SERVERS | {"topic": "md.{symbol}"}, r"may be made of \{kind\} and \{exchange\}, not of \{symbol\}"),
    "latest": (SERVERS | {"latest_books": "a b"}, "'a b' is no name of a topic"),
    "registry": (SERVERS | {"format": "avro"}, "wants schema_registry = URL"),
    "one topic of schemas": (SERVERS | {"format": "avro", "topic": "md", "schema_registry": "http://r"}, r"wants a \{kind\}"),
    "password": (SERVERS | {"security": "sasl_ssl", "sasl_user": "me"}, "wants sasl_user and sasl_password"),
    "idle password": (SERVERS | {"sasl_password": "x"}, "has no effect with security 'plaintext'"),
    **{
        f"property {k}": (SERVERS | {"properties": {k: "1"}}, f"properties.{k} cannot be set")
        for k in (*KEPT, "bootstrap.servers", "retries")
    },
}


@pytest.mark.parametrize(("options", "told"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_is_told_with_its_key(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told) as e:
        KafkaOptions.of(options)
    assert "\n" not in str(e.value)
    with pytest.raises(UsageError):
        make("kafka", options)


def test_the_contract_stands_above_everything() -> None:
    conf = KafkaOptions.of(SERVERS | {"properties": {"queue.buffering.max.ms": 7, "client.id": "mine"}}).producer(900_000)
    assert {k: conf[k] for k in KEPT} == KEPT
    assert (conf["client.id"], conf["message.max.bytes"], conf["compression.type"]) == ("mine", 900_000, "lz4")


def test_how_a_cluster_is_reached(tmp_path: Path) -> None:
    ca, certificate, key = (str(tmp_path / name) for name in ("ca.pem", "c.pem", "k.pem"))
    link = Link.of(SERVERS | SASL | {"ssl_ca": ca, "ssl_certificate": certificate, "ssl_key": key, "ssl_key_password": "x"})
    for path in (ca, certificate, key):
        with pytest.raises(UsageError, match=re.escape(f"there is no file '{path}'")):
            link.common()
        Path(path).touch()
    conf = link.common()
    assert (conf["security.protocol"], conf["sasl.mechanism"], conf["sasl.username"], conf["sasl.password"]) == (
        "sasl_ssl", "SCRAM-SHA-512", "me", "S3CR3T-CANARY",
    )  # fmt: skip
    assert (conf["ssl.ca.location"], conf["ssl.certificate.location"], conf["ssl.key.location"]) == (ca, certificate, key)
    assert "enable.ssl.certificate.verification" not in conf, "nobody turns that off here"


def test_secrets_that_hide_themselves_reach_librdkafka_and_nobody_else() -> None:
    given = SERVERS | SASL | {"sasl_password": Secret("S3CR3T-CANARY"), "properties": {"ssl.key.password": Secret("S3CR3T-CANARY")}}
    given |= {"schema_registry": "http://127.0.0.1:1", "schema_registry_user_info": Secret("me:S3CR3T-CANARY")}
    options = KafkaOptions.of(given)
    conf = options.producer(900_000)
    assert conf["sasl.password"] == conf["ssl.key.password"] == "S3CR3T-CANARY"
    assert all(type(v) in (str, int, float, bool) for v in conf.values()), "librdkafka asks str() of what it is given"
    assert f"{conf['sasl.password']}" == "S3CR3T-CANARY"
    assert options.user_info == "me:S3CR3T-CANARY"
    assert f"{options.user_info}" == "me:S3CR3T-CANARY"
    for text in (repr(options), str(options), f"{options}"):
        assert "CANARY" not in text
        assert "127.0.0.1:9092" in text


def test_the_registry_of_sinks_makes_it() -> None:
    assert options_of("kafka") is KafkaOptions
    assert make("kafka", SERVERS).name == "kafka"
    assert make("kafka", SERVERS, called="to-kafka").name == "to-kafka"


def test_topics_of_streams() -> None:
    options = KafkaOptions.of(SERVERS | {"topic": "x.{exchange}.{kind}"})
    assert options.topic_of("open_interest", "binance") == "x.binance.open_interest"
    with pytest.raises(UsageError, match="is no name of a topic"):
        options.topic_of("trade", "../../etc")
