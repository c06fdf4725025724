"""A connection to DynamoDB: the one place that imports aioboto3."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from botocore import exceptions as boto
from pydantic import SecretStr

from mailculator.config import Settings
from mailculator.errors import StoreRejected, StoreUnavailable
from mailculator.stores.dynamodb.errors import NAME, Failure, Kind

CONNECTIONS = 64
CONNECT_TIMEOUT = 1.0
READ_TIMEOUT = 3.0
OPEN_TIMEOUT = 10.0
"""Seconds. Nothing is asked of DynamoDB yet, but perhaps credentials of somebody."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the table is, and as whom it is used.

    Arguments:
        endpoint_url: of an emulator or a VPC endpoint; None = the region's own.
        access_key_id, secret_access_key, session_token: None = wherever botocore usually finds them (environment,
            shared files, the container's or the machine's role).
    """

    table: str
    region: str
    endpoint_url: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Endpoint:
        """What the settings name."""
        return cls(
            table=settings.email_outbox_table,
            region=settings.aws_region,
            endpoint_url=settings.aws_endpoint_url or None,
            access_key_id=_revealed(settings.aws_access_key_id),
            secret_access_key=_revealed(settings.aws_secret_access_key),
            session_token=_revealed(settings.aws_session_token),
        )

    @property
    def place(self) -> str:
        """Where it is looked for, for people."""
        if self.endpoint_url is None:
            return self.region
        parts = urlsplit(self.endpoint_url)
        return parts.netloc.rpartition("@")[2] or self.endpoint_url


def _revealed(value: SecretStr | str | None) -> str | None:
    return (value.get_secret_value() if isinstance(value, SecretStr) else value) or None


class Link:
    """A botocore client, with its connections.

    Arguments:
        opened: what was entered for it.
        client: has botocore's operations as methods.
    """

    def __init__(self, opened: AbstractAsyncContextManager[Any], client: Any) -> None:
        self._opened = opened
        self._client = client
        self._users = 0
        self._retired = False

    def enter(self) -> Any:
        """Use it; `leave` must follow."""
        self._users += 1
        return self._client

    async def leave(self) -> None:
        """End of a use."""
        self._users -= 1
        if self._retired and not self._users:
            await self.close()

    async def retire(self) -> None:
        """Close it as soon as nobody uses it any more."""
        self._retired = True
        if not self._users:
            await self.close()

    async def close(self) -> None:
        """Close it now, and once more after its last user: botocore opens a session whenever it needs one."""
        self._retired = True
        await self._opened.__aexit__(None, None, None)


async def open_link(endpoint: Endpoint) -> Link:
    """A new connection, with credentials looked up anew.

    Errors: StoreRejected for settings that cannot be, StoreUnavailable when credentials cannot be had in time.
    """
    try:
        async with asyncio.timeout(OPEN_TIMEOUT):
            # Half a second of imports and reading: not on the loop that other stores are worked on.
            driver = await asyncio.to_thread(_driver)
            opened = driver.opening(endpoint)
            return Link(opened, await opened.__aenter__())
    except TimeoutError as error:
        raise StoreUnavailable(NAME, "connect", "AWS credentials cannot be looked up in time") from error
    except (boto.BotoCoreError, ValueError) as error:
        # A half of a key pair, a region that cannot be one, an address that is none.
        raise StoreRejected(NAME, "connect", f"the AWS settings cannot be used: {type(error).__name__}") from error


@dataclass(frozen=True, slots=True)
class _Driver:
    """The AWS libraries, imported, and what they read of DynamoDB from their files."""

    session: Callable[..., Any]
    core_session: Callable[[], Any]
    config: Callable[..., Any]
    loader: Any
    http_session: type[Any]

    def opening(self, endpoint: Endpoint) -> AbstractAsyncContextManager[Any]:
        """A client to be entered. Its session is new, so its credentials are; the files are not read again."""
        core = self.core_session()
        core.register_component("data_loader", self.loader)
        opening: AbstractAsyncContextManager[Any] = self.session(botocore_session=core).client(
            "dynamodb",
            region_name=endpoint.region,
            endpoint_url=endpoint.endpoint_url,
            # Without TLS there is nothing to verify, and reading every authority takes a third of a second.
            verify=False if (endpoint.endpoint_url or "").startswith("http://") else None,
            aws_access_key_id=endpoint.access_key_id,
            aws_secret_access_key=endpoint.secret_access_key,
            aws_session_token=endpoint.session_token,
            config=self.config(
                max_pool_connections=CONNECTIONS,
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=READ_TIMEOUT,
                retries={"mode": "standard", "total_max_attempts": 1},
                tcp_keepalive=True,
                http_session_cls=self.http_session,
            ),
        )
        return opening


@cache
def _driver() -> _Driver:
    # 27 MB: only for who uses this store.
    loader = import_module("botocore.loaders").create_loader()
    for kind in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model("dynamodb", kind)
    for name in ("endpoints", "partitions"):
        loader.load_data(name)
    return _Driver(
        session=import_module("aioboto3").Session,
        core_session=import_module("aiobotocore.session").get_session,
        config=import_module("aiobotocore.config").AioConfig,
        loader=loader,
        http_session=_naming(import_module("aiobotocore.httpsession").AIOHTTPSession),
    )


def _naming(http_session: type[Any]) -> type[Any]:
    """The driver's HTTP session, which also asks whose certificate it is: it leaves that out (botocore leaves it to
    urllib3, which aiobotocore does not use), and any certificate of a known authority would do."""

    class NamingSession(http_session):  # type: ignore[misc]  # known at run time alone: it takes half a second to import
        def _get_ssl_context(self) -> ssl.SSLContext:
            context: ssl.SSLContext = super()._get_ssl_context()
            context.check_hostname = True
            return context

    return NamingSession


def silence(error: boto.BotoCoreError, place: str) -> Failure:
    """What failed without an answer. The driver's own words quote requests, and addresses with passwords."""
    match error:
        case boto.EndpointConnectionError() | boto.ConnectTimeoutError() | boto.ProxyConnectionError():
            return Failure(Kind.AWAY, f"no connection to {place}", error)
        case boto.SSLError():
            return Failure(Kind.AWAY, f"no TLS with {place}: its certificate is not accepted", error)
        case boto.ReadTimeoutError():
            return Failure(Kind.AWAY, f"no answer from {place} in time", error)
        case boto.HTTPClientError():
            return Failure(Kind.AWAY, f"the connection to {place} was lost", error)
        case boto.NoCredentialsError() | boto.PartialCredentialsError():
            return Failure(Kind.REJECTED, "no AWS credentials: set a key pair, or give this machine a role", error)
        case boto.CredentialRetrievalError() | boto.MetadataRetrievalError() | boto.TokenRetrievalError():
            return Failure(Kind.AWAY, "AWS credentials cannot be looked up", error)
    return Failure(Kind.REJECTED, f"the driver refuses the request: {type(error).__name__}", error)
