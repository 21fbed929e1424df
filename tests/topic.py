"""A topic of Amazon SNS in memory, behind a transport of httpx."""

import base64
import json
from datetime import UTC, datetime, timedelta

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.issuer import RSA_KEY
from visualsearch.domain.topics import Topic

TOPIC = Topic.parse("arn:aws:sns:eu-central-1:123456789012:pictures")
CERTIFICATE_URL = f"https://{TOPIC.host}/SimpleNotificationService-0123abcd.pem"
DIGESTS = {"1": SHA1(), "2": SHA256()}
ORDER = ("Message", "MessageId", "SubscribeURL", "Subject", "Timestamp", "Token", "TopicArn", "Type")
"""Every field that can be signed; each message has some of them."""


def certificate(key=RSA_KEY):
    """A certificate of the key by itself, as PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    return built.sign(key, SHA256()).public_bytes(Encoding.PEM)


class AmazonSns:
    """Signs messages, serves its certificate and confirms subscriptions. ``asked`` lists what was fetched."""

    def __init__(self):
        self.asked = []
        self.pem = certificate()
        self.status = 200
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request):
        self.asked.append(str(request.url))
        if self.status != 200:
            return httpx.Response(self.status)
        return httpx.Response(200, content=self.pem if request.url.path.endswith(".pem") else b"<Confirmed/>")

    def message(self, text, version="2", *, unsigned=(), **changes):
        """A message as SNS delivers it. ``changes`` are signed, ``unsigned`` ones made afterwards."""
        fields = {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": TOPIC.arn,
            "Subject": "Amazon S3 Notification",
            "Message": text if isinstance(text, str) else json.dumps(text),
            "Timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "SignatureVersion": version,
            "SigningCertURL": CERTIFICATE_URL,
            "UnsubscribeURL": f"https://{TOPIC.host}/?Action=Unsubscribe",
        }
        fields = {name: value for name, value in (fields | changes).items() if value is not None}
        signed = "".join(f"{name}\n{fields[name]}\n" for name in ORDER if name in fields)
        digest = DIGESTS.get(version, SHA256())
        fields["Signature"] = base64.b64encode(RSA_KEY.sign(signed.encode(), PKCS1v15(), digest)).decode()
        return fields | dict(unsigned)

    def confirmation(self, **changes):
        """The message that asks whether the subscription is wanted."""
        url = f"https://{TOPIC.host}/?Action=ConfirmSubscription&TopicArn={TOPIC.arn}&Token=abc"
        asked = {"Type": "SubscriptionConfirmation", "Subject": None, "Token": "abc", "SubscribeURL": url}
        return self.message("You have chosen to subscribe ...", **(asked | changes))
