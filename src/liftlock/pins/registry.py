"""Ask a registry whether it has an image, and for its digest: the OCI distribution API, without a login."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import urllib3

from liftlock.errors import Refused

_KINDS = (
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
)  # fmt: skip
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LARGEST = 4 << 20


class RegistryUnknown(Refused):
    """A registry did not answer, or does not let everybody look."""


@dataclass(frozen=True)
class Reference:
    """`host/name:tag` taken apart; `host` may hold a port."""

    host: str
    name: str
    tag: str

    @classmethod
    def parse(cls, image: str) -> Reference | None:
        """The reference, or None when it names no registry of its own, no tag, or holds a variable."""
        host, slash, rest = image.partition("@")[0].partition("/")
        name, colon, tag = rest.rpartition(":")
        own = "." in host or ":" in host or host == "localhost"
        plain = re.fullmatch(r"[\w.:/-]+", image.partition("@")[0]) is not None
        return cls(host, name, tag) if slash and colon and own and plain and name else None

    @property
    def url(self) -> str:
        """Where its manifest is; plain HTTP only on this machine, as Docker has it."""
        local = self.host.partition(":")[0] in ("localhost", "127.0.0.1")
        return f"{'http' if local else 'https'}://{self.host}/v2/{self.name}/manifests/{self.tag}"


def digest(reference: Reference, *, timeout: float = 30.0) -> str | None:
    """The `sha256:...` of an image (of its index, where it is for several platforms), or None when there is none.

    Raises RegistryUnknown when that cannot be told.
    """
    headers = {"Accept": ", ".join(_KINDS), "User-Agent": "liftlock"}
    answer = _get(reference, reference.url, headers, timeout)
    if answer.status == 401:
        token = _token(reference, answer.headers.get("WWW-Authenticate", ""), timeout)
        answer = _get(reference, reference.url, {**headers, "Authorization": f"Bearer {token}"}, timeout)
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise RegistryUnknown(
            f"{reference.host} answered {answer.status} when asked for {reference.name}:{reference.tag}",
            hint="It may want a login: give the digest with --image-digest, without --registry.",
        )
    said = answer.headers.get("Docker-Content-Digest", "")
    found = f"sha256:{hashlib.sha256(answer.data).hexdigest()}"
    if said and _DIGEST.fullmatch(said) and said != found:
        raise RegistryUnknown(f"{reference.host} gave a manifest of {reference.name} that is not the digest it names")
    return found


def _token(reference: Reference, challenge: str, timeout: float) -> str:
    """A token that everybody gets. It is asked for where the registry says, over HTTPS unless it is this machine."""
    parameters = dict(_PARAMETER.findall(challenge))
    realm = parameters.pop("realm", "")
    if not challenge.lower().startswith("bearer ") or urlsplit(realm).scheme != urlsplit(reference.url).scheme:
        raise RegistryUnknown(
            f"{reference.host} wants a login for {reference.name}", hint="Give the digest with --image-digest instead."
        )
    scope = {"scope": f"repository:{reference.name}:pull", **parameters}
    answer = _get(reference, f"{realm}?{urlencode(scope)}", {"User-Agent": "liftlock"}, timeout)
    try:
        data = json.loads(answer.data)
        return str(data.get("token") or data["access_token"])
    except (ValueError, KeyError, AttributeError):
        raise RegistryUnknown(f"{reference.host} gives no token for {reference.name} to everybody") from None


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    data: bytes


def _get(reference: Reference, url: str, headers: dict[str, str], timeout: float) -> _Answer:
    try:
        answer = urllib3.request(
            "GET", url, headers=headers, timeout=timeout, retries=urllib3.Retry(total=3, connect=1, read=1, redirect=3),
            preload_content=False,
        )  # fmt: skip
        data = answer.read(_LARGEST + 1)
    except urllib3.exceptions.HTTPError as error:
        raise RegistryUnknown(
            f"{reference.host} does not answer: {type(error).__name__}",
            hint="Check the network, or run without --registry.",
        ) from error
    if len(data) > _LARGEST:
        raise RegistryUnknown(f"{reference.host} sent more than a manifest for {reference.name}")
    return _Answer(answer.status, answer.headers, data)
