"""Ask a registry whether it has an image, and for its digest: the OCI distribution API, with this machine's login."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import urllib3

from liftlock.errors import Refused
from liftlock.model.secret import Secret
from liftlock.pins.registry_login import login

_KINDS = (
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
)  # fmt: skip
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LARGEST = 4 << 20
_HUB = "registry-1.docker.io"
_LOGIN = "Log in with docker login or podman login, or give the digest with --image-digest instead."


class RegistryUnknown(Refused):
    """A registry did not answer, or does not let us look."""


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
    def path(self) -> str:
        """Its name at the registry: Docker's own keeps the images of nobody under `library`."""
        return f"library/{self.name}" if self.host == "docker.io" and "/" not in self.name else self.name

    @property
    def url(self) -> str:
        """Where its manifest is; plain HTTP only on this machine, as Docker has it."""
        local = self.host.partition(":")[0] in ("localhost", "127.0.0.1")
        host = _HUB if self.host == "docker.io" else self.host
        return f"{'http' if local else 'https'}://{host}/v2/{self.path}/manifests/{self.tag}"


def digest(reference: Reference, *, timeout: float = 30.0) -> str | None:
    """The `sha256:...` of an image (of its index, where it is for several platforms), or None when there is none.

    Raises RegistryUnknown when that cannot be told.
    """
    headers = {"Accept": ", ".join(_KINDS), "User-Agent": "liftlock"}
    answer = _get(reference, reference.url, headers, timeout)
    if answer.status == 401:
        shown = _authorization(reference, answer.headers.get("WWW-Authenticate", ""), timeout)
        answer = _get(reference, reference.url, {**headers, "Authorization": shown}, timeout)
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise RegistryUnknown(
            f"{reference.host} answered {answer.status} when asked for {reference.name}:{reference.tag}",
            hint=_LOGIN,
        )
    said = answer.headers.get("Docker-Content-Digest", "")
    found = f"sha256:{hashlib.sha256(answer.data).hexdigest()}"
    if said and _DIGEST.fullmatch(said) and said != found:
        raise RegistryUnknown(f"{reference.host} gave a manifest of {reference.name} that is not the digest it names")
    return found


def _authorization(reference: Reference, challenge: str, timeout: float) -> str:
    """What to show a registry that wants to know who asks: a login, or a token, which many give to everybody.

    The token is asked for where the registry says, over HTTPS unless it is this machine.
    """
    known = login(reference.host)
    basic = urllib3.make_headers(basic_auth=f"{known[0]}:{known[1].reveal()}")["authorization"] if known else ""
    parameters = dict(_PARAMETER.findall(challenge))
    realm = parameters.pop("realm", "")
    kind = challenge.lower().partition(" ")[0]
    if kind == "basic" and basic:
        return basic
    if kind != "bearer" or urlsplit(realm).scheme != urlsplit(reference.url).scheme:
        raise RegistryUnknown(f"{reference.host} wants a login for {reference.name}", hint=_LOGIN)
    scope = {"scope": f"repository:{reference.path}:pull", **parameters}
    headers = {"User-Agent": "liftlock", **({"Authorization": basic} if basic else {})}
    answer = _get(reference, f"{realm}?{urlencode(scope)}", headers, timeout)
    try:
        data = json.loads(answer.data)
        token = Secret(str(data.get("token") or data["access_token"]))
    except (ValueError, KeyError, AttributeError):
        raise RegistryUnknown(f"{reference.host} gives no token for {reference.name}", hint=_LOGIN) from None
    return f"Bearer {token.reveal()}"


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
