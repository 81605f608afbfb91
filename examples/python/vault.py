"""A vault's nodes, and what its errors mean. Copy this file as it is."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from messagevault.v1 import vault_pb2_grpc

# Without pings, a connection that a firewall forgot looks like a quiet stream.
CHANNEL_OPTIONS = [
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A subscriber sends no data; by default it would stop to ping after two pings.
    ("grpc.http2.max_pings_without_data", 0),
    # Retries are ours: only we know which requests may be repeated.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]

PAUSE_SECONDS_FIRST = 0.1
PAUSE_SECONDS_MAX = 2.0

# After these it is not known what happened: the connection broke, or the answer was lost.
OUTCOME_UNKNOWN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
}


class Nodes:
    """The nodes of one vault, by address. Calls go to one of them until a call fails, then to the next."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._channels = [grpc.aio.insecure_channel(address, CHANNEL_OPTIONS) for address in addresses]
        self._stubs = [vault_pb2_grpc.VaultServiceStub(channel) for channel in self._channels]
        self._current = 0

    @property
    def stub(self) -> vault_pb2_grpc.VaultServiceStub:
        """The node in use."""
        return self._stubs[self._current]

    def move_on(self) -> None:
        """Takes the next node."""
        self._current = (self._current + 1) % len(self._stubs)

    async def __aenter__(self) -> "Nodes":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._channels:
            await channel.close()


@dataclass(frozen=True)
class Failure:
    """What a failed call means."""

    # Whether the same request may succeed later.
    retryable: bool
    # Whether the request may have been carried out all the same.
    maybe_stored: bool
    # How long the vault asks to wait; 0 where it says nothing.
    delay_seconds: float

    def pause_seconds(self, attempt: int) -> float:
        """How long to wait before the next attempt: longer each time, and never the same for all clients."""
        limit = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_FIRST * 2 ** min(attempt, 10))
        return self.delay_seconds + random.uniform(0, limit)


def judge(error: grpc.RpcError) -> Failure:
    """Tells what a failed call means, by its status code, ErrorInfo and RetryInfo."""
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else []:
        # Each unpacks only what is of its type.
        detail.Unpack(info)
        detail.Unpack(retry)
    ours = info.domain == "messagevault"
    # Of gRPC itself the code says that a message is too large: then it always will be.
    overloaded = error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and ours
    unknown = error.code() in OUTCOME_UNKNOWN
    return Failure(
        retryable=overloaded or unknown,
        maybe_stored=unknown and not (ours and info.reason == "NOT_STORED"),
        delay_seconds=retry.retry_delay.ToTimedelta().total_seconds(),
    )
