"""Notifications of S3 by Amazon SNS: whose messages are accepted, and what they cause."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.topic import CERTIFICATE_URL, TOPIC, AmazonSns, certificate
from tests.unit.gateway.test_operations import put, record, told
from tests.unit.serving import Serving, assert_problem
from visualsearch.adapters.sns import certificates
from visualsearch.adapters.sns.topics import SnsTopics
from visualsearch.domain.errors import ConfigurationError
from visualsearch.domain.topics import Topic
from visualsearch.settings import Settings

NOTICE = {"Records": [record("a+b.jpg")]}
OTHER = TOPIC.arn.replace("pictures", "others")


@pytest.fixture
def sns():
    return AmazonSns()


@pytest.fixture
async def serving(sns):
    async with Serving(topics=SnsTopics([TOPIC], sns.transport), webhook_rate=1000) as serving:
        await put(serving, "a b.jpg")
        yield serving


async def deliver(serving, message, **headers):
    """Send a message as SNS does: as text, without a token."""
    sent = {"x-amz-sns-message-type": str(message.get("Type")), "content-type": "text/plain; charset=UTF-8"}
    return await serving.client.post("/events/s3", content=json.dumps(message), headers=sent | headers)


@pytest.mark.parametrize("version", ["1", "2"])
async def test_a_signed_message_of_the_topic_is_accepted_without_a_token(serving, sns, version):
    answer = await deliver(serving, sns.message(NOTICE, version))
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "refused": []})
    assert [event.uri for event in told(serving)] == ["s3://images/a%20b.jpg"]


async def test_a_message_without_a_subject_is_accepted(serving, sns):
    assert (await deliver(serving, sns.message(NOTICE, Subject=None))).json()["accepted"] == 1


async def test_the_certificate_is_fetched_once(serving, sns):
    for _ in range(3):
        assert (await deliver(serving, sns.message(NOTICE))).status_code == 202
    assert sns.asked == [CERTIFICATE_URL]


async def test_a_subscription_is_confirmed_at_the_topics_own_host(serving, sns):
    elsewhere = "http://169.254.169.254/latest/meta-data"
    for message in (sns.confirmation(), sns.confirmation(SubscribeURL=elsewhere)):
        sns.asked.clear()
        answer = await deliver(serving, message)
        assert answer.json() == {"accepted": 0, "refused": []}
        confirmed = sns.asked[-1]
        assert confirmed.startswith(f"https://{TOPIC.host}/?Action=ConfirmSubscription&TopicArn=arn%3Aaws%3Asns")
        assert confirmed.endswith("&Token=abc")
        assert not any("169.254" in url for url in sns.asked)


async def test_a_subscription_that_cannot_be_confirmed_is_asked_for_again(serving, sns):
    assert (await deliver(serving, sns.message(NOTICE))).status_code == 202
    sns.status = 500
    assert_problem(await deliver(serving, sns.confirmation()), 503)


async def test_the_end_of_a_subscription_is_accepted(serving, sns):
    assert (await deliver(serving, sns.confirmation(Type="UnsubscribeConfirmation"))).json()["accepted"] == 0
    assert not told(serving)


def late(**age):
    return {"Timestamp": (datetime.now(UTC) - timedelta(**age)).isoformat()}


@pytest.mark.parametrize(
    "changes",
    [
        {"unsigned": {"Message": json.dumps({"Records": [record("other.jpg")]})}},
        {"unsigned": {"Signature": "AAAA"}},
        {"unsigned": {"Signature": "no base64!"}},
        {"unsigned": {"Subject": "another"}},
        {"unsigned": {"TopicArn": OTHER}},
        {"TopicArn": OTHER},
        {"TopicArn": "arn:aws:sns:evil.example/:123456789012:pictures"},
        {"Type": "Other"},
        {"Message": None},
        {"Timestamp": "yesterday"},
        {"Timestamp": "2026-11-27T10:00:00"},
        late(hours=3),
        late(hours=-1),
        {"version": "3"},
    ],
)
async def test_any_other_message_is_refused(serving, sns, changes):
    await put(serving, "other.jpg")
    assert_problem(await deliver(serving, sns.message(NOTICE, **changes)), 401)
    assert not told(serving)


@pytest.mark.parametrize(
    "url",
    [
        CERTIFICATE_URL.replace("https", "http"),
        "https://sns.us-east-1.amazonaws.com/x.pem",
        f"https://{TOPIC.host}.evil.example/x.pem",
        f"https://{TOPIC.host}@evil.example/x.pem",
        f"https://evil.example/{TOPIC.host}/x.pem",
        f"https://bucket.s3.amazonaws.com/{TOPIC.host}/x.pem",
        f"https://{TOPIC.host}:8443/x.pem",
        f"https://{TOPIC.host}/../x.pem",
        f"https://{TOPIC.host}/x.pem?y.pem",
        f"https://{TOPIC.host}/x.pem\n",
        "file:///etc/passwd.pem",
        "https://127.0.0.1/x.pem",
        "",
    ],
)
async def test_nothing_is_fetched_but_certificates_of_the_topics_own_host(serving, sns, url):
    assert_problem(await deliver(serving, sns.message(NOTICE, SigningCertURL=url)), 401)
    assert sns.asked == []


async def test_invented_certificates_are_fetched_at_most_once_a_second(serving, sns):
    statuses = [
        (await deliver(serving, sns.message(NOTICE, SigningCertURL=f"https://{TOPIC.host}/{n}.pem"))).status_code
        for n in range(5)
    ]
    assert len(sns.asked) == 1
    assert statuses == [202, 429, 429, 429, 429]


@pytest.mark.parametrize(("pem", "status"), [(b"no certificate", 503), (b"x" * 2**17, 503), ("ec", 401)])
async def test_an_unsuitable_certificate_is_refused(serving, sns, pem, status):
    sns.pem = certificate(ec.generate_private_key(ec.SECP256R1())) if pem == "ec" else pem
    assert_problem(await deliver(serving, sns.message(NOTICE)), status)


async def test_a_certificate_that_is_away_is_asked_for_again(serving, sns, monkeypatch):
    monkeypatch.setattr(certificates, "RETRY_S", 0)
    sns.status = 503
    assert_problem(await deliver(serving, sns.message(NOTICE)), 503)
    sns.status = 200
    assert (await deliver(serving, sns.message(NOTICE))).status_code == 202


async def test_an_address_that_sends_many_false_messages_has_to_wait(serving, sns):
    false = sns.message(NOTICE, TopicArn=OTHER)
    statuses = [(await deliver(serving, false)).status_code for _ in range(40)]
    assert statuses[0] == 401
    assert statuses[-1] == 429


async def test_a_huge_message_is_not_read(serving, sns):
    assert_problem(await deliver(serving, sns.message("x" * 2**20)), 413)


async def test_a_message_that_is_no_notice_is_refused(serving, sns):
    for text in ("no json", "[]", json.dumps({"alarm": 1})):
        assert_problem(await deliver(serving, sns.message(text)), 422)


async def test_a_topics_records_are_bounded_like_others(sns):
    async with Serving(topics=SnsTopics([TOPIC], sns.transport), webhook_rate=50) as serving:
        await put(serving, "a b.jpg")
        many = sns.message({"Records": [record("a+b.jpg")] * 100})
        assert (await deliver(serving, many)).json()["accepted"] == 100
        assert_problem(await deliver(serving, many), 429)


async def test_without_a_topic_no_message_is_accepted(sns):
    async with Serving() as serving:
        answer = await deliver(serving, sns.message(NOTICE))
        assert_problem(answer, 401)
        assert "VISUALSEARCH_SNS_TOPICS" in answer.json()["detail"]


async def test_reserved_keys_and_uploads_are_refused_by_sns_too(serving, sns):
    await put(serving, "uploads/7.jpg")
    notice = {"Records": [record("uploads/7.jpg"), record("queries/7"), record("a", bucket="other")]}
    answer = (await deliver(serving, sns.message(notice))).json()
    assert answer["accepted"] == 0
    assert len(answer["refused"]) == 3


def test_topics_are_read_from_a_setting():
    china = "arn:aws-cn:sns:cn-north-1:123456789012:a.fifo"
    settings = Settings(_env_file=None, sns_topics=f"{TOPIC.arn}, {china}")
    assert settings.topics == [TOPIC, Topic(china, "sns.cn-north-1.amazonaws.com.cn")]


def test_a_setting_that_names_no_topic_is_refused(monkeypatch):
    monkeypatch.setenv("VISUALSEARCH_SNS_TOPICS", "pictures")
    with pytest.raises(ConfigurationError, match="SNS_TOPICS"):
        Settings.load()
