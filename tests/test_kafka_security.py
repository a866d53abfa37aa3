"""Passwords, certificates and rights, on a real Apache Kafka: over TLS and without, taken and refused; and no secret in any log."""

import asyncio
import logging
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trustme
from confluent_kafka.admin import AclBinding, AclBindingFilter, AclOperation, AclPermissionType, ResourcePatternType, ResourceType
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, pkcs12

from streamer.errors import UsageError
from streamer.kafka import consume
from streamer.sinks import SinkDown
from streamer.sinks.kafka import KafkaSink
from streamer.sinks.kafka_config import KafkaOptions
from tests.kafka_reading import first_times, ids, read, trades
from tests.kafka_real import PASSWORD, SERVERS, TLS, USER, admin, needs_kafka, opened, servers_of

pytestmark = needs_kafka
CANARY = "S3CR3T-CANARY"
CA = str(TLS / "ca.pem")
LOGINS: dict[str, dict[str, Any]] = {} if not SERVERS else {
    "sasl_plaintext": {"servers": servers_of("sasl_plaintext"), "security": "sasl_plaintext", "sasl_mechanism": "PLAIN", "sasl_user": USER},
    "sasl_ssl": {
        "servers": servers_of("sasl_ssl"), "security": "sasl_ssl", "sasl_mechanism": "SCRAM-SHA-512", "sasl_user": USER, "ssl_ca": CA,
    },
}  # fmt: skip


@pytest.fixture
def name() -> str:
    """Topics of this test only."""
    return f"t{uuid4().hex[:10]}"


async def refused(**options: Any) -> SinkDown:
    """What is said of it."""
    sink = KafkaSink(KafkaOptions.of({"timeout_s": 3.0, **options}))
    with pytest.raises(SinkDown) as e:
        await sink.open()
    await sink.close(5)
    return e.value


@pytest.mark.parametrize("security", ["sasl_plaintext", "sasl_ssl"])
async def test_passwords(name: str, security: str, caplog: pytest.LogCaptureFixture) -> None:
    login = LOGINS[security]
    with caplog.at_level(logging.DEBUG):
        async with opened(name, **login, sasl_password=PASSWORD, properties={"debug": "security,broker"}) as sink:
            assert await sink.write(trades(10)) == []
        down = await refused(**login, sasl_password=CANARY)
        async with consume(**login, sasl_password=CANARY) as s, s.subscribe("binance:BTC/USDT"), asyncio.timeout(20):
            while not s.stats()["down"]:
                await asyncio.sleep(0.05)
            [told] = s.stats()["down"]
    assert (down.reason, "authentication failed" in str(down).lower()) == ("unauthorized", True)
    assert "authentication failed" in told.lower()
    assert PASSWORD not in caplog.text
    assert CANARY not in caplog.text + str(down) + told
    async with consume(**login, sasl_password=PASSWORD, topic=f"{name}.{{kind}}", start="earliest") as s:
        sub = s.subscribe("binance:BTC/USDT")
        async with asyncio.timeout(20):
            _, *found = [await anext(sub) for _ in range(3)]
    assert [t.id for t in found] == ["0", "1"]  # type: ignore[attr-defined]


@pytest.fixture
def ours(tmp_path: Path) -> dict[str, Any]:
    """Our own certificate and its key, which has a password, as files of PEM."""
    key, certificate, _ = pkcs12.load_key_and_certificates((TLS / "client.p12").read_bytes(), PASSWORD.encode())
    assert key is not None
    assert certificate is not None
    (tmp_path / "us.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "us.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSWORD.encode())))
    return {"ssl_certificate": str(tmp_path / "us.pem"), "ssl_key": str(tmp_path / "us.key")}


async def test_a_certificate_of_our_own(name: str, ours: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    tls: dict[str, Any] = {"servers": servers_of("ssl"), "security": "ssl", "ssl_ca": CA}
    with caplog.at_level(logging.DEBUG):
        async with opened(name, **tls, **ours, ssl_key_password=PASSWORD, properties={"debug": "security"}) as sink:
            assert await sink.write(trades(10)) == []
        wrong = KafkaSink(KafkaOptions.of({**tls, **ours, "ssl_key_password": CANARY}))
        with pytest.raises(UsageError, match=r"ssl\.key") as e:
            await wrong.open()
    assert CANARY not in caplog.text + str(e.value)
    assert PASSWORD not in caplog.text
    down = await refused(**tls)
    assert (down.reason, "certificate" in str(down)) == ("unreachable", True), "it asks for ours"


async def test_a_broker_that_is_not_who_it_should_be_gets_nothing(tmp_path: Path) -> None:
    """Another authority, another name, none to trust but those of the system, no TLS there at all."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    login = LOGINS["sasl_ssl"] | {"sasl_password": PASSWORD}
    cases: list[dict[str, Any]] = [
        {"ssl_ca": str(other)}, {"servers": servers_of("sasl_ssl", "localhost")}, {"ssl_ca": ""}, {"servers": SERVERS},
    ]  # fmt: skip
    *unproved, plain = await asyncio.gather(*(refused(**login | {"timeout_s": 10.0} | given) for given in cases))
    assert [(d.reason, "certificate verify failed" in str(d)) for d in unproved] == [("unreachable", True)] * 3
    assert plain.reason == "unreachable", "why, librdkafka says in other words when the machine is busy"


async def test_rights_are_taken_away_and_given_back(name: str) -> None:
    acl = AclBinding(
        ResourceType.TOPIC, f"{name}.trade", ResourcePatternType.LITERAL, f"User:{USER}", "*", AclOperation.WRITE, AclPermissionType.DENY
    )
    async with opened(name, **LOGINS["sasl_plaintext"], sasl_password=PASSWORD) as sink:
        assert await sink.write(trades(10)) == []
        client = admin()
        for future in client.create_acls([acl]).values():
            future.result(10)
        with pytest.raises(SinkDown, match="Topic authorization failed") as e:
            await sink.write(trades(20, start=10))
        assert e.value.reason == "unauthorized"
        only = AclBindingFilter(
            ResourceType.TOPIC, f"{name}.trade", ResourcePatternType.LITERAL, None, None, AclOperation.ANY, AclPermissionType.ANY
        )
        for deleted in client.delete_acls([only]).values():
            deleted.result(10)
        async with asyncio.timeout(20):
            while True:
                try:
                    await sink.open()
                    await sink.write(trades(20, start=10))
                    break
                except SinkDown:
                    await asyncio.sleep(0.2)
    assert ids(first_times(read(SERVERS, f"{name}.trade")), "binance:BTC/USDT") == list(range(20))
