"""publisher.py ADDRESSES STREAM: publishes the records on standard input, one a line in protobuf's JSON form.

Prints a PublishResponse, in that form too, for each batch that is stored. ADDRESSES is host:port, or several with
commas.
"""

import asyncio
import itertools
import sys
import threading
import time
import uuid
from collections.abc import Sequence

import grpc
from google.protobuf import json_format
from messagevault.v1 import record_pb2, vault_pb2

from vault import Nodes, judge

# How long one attempt may take, and all attempts for one batch.
ATTEMPT_SECONDS_MAX = 10
PUBLISH_SECONDS_MAX = 60
# How much is read at a time: what comes of it must stay, as a batch, below the vault's 4 MiB.
READ_BYTES_MAX = 256 * 1024

BatchQueue = asyncio.Queue[list[record_pb2.Record] | None]


class PublishError(Exception):
    """A batch that was given up. `maybe_stored` tells whether it may be stored all the same."""

    def __init__(self, message: str, *, maybe_stored: bool) -> None:
        super().__init__(f"{message} ({'may or may not be' if maybe_stored else 'was not'} stored)")
        self.maybe_stored = maybe_stored


class Publisher:
    """Publishes to one stream, a batch at a time, in order; a batch that has to be sent again is stored once.

    After a PublishError it is of no use any more: make another one.
    """

    def __init__(self, nodes: Nodes, stream: str) -> None:
        self._nodes = nodes
        self._stream = stream
        # Nobody else may use this id at the same time.
        self._producer_id = str(uuid.uuid4())
        self._sequence = 0

    async def publish(self, records: Sequence[record_pb2.Record]) -> vault_pb2.PublishResponse:
        """Publishes a batch, all or nothing; returns when it is durable."""
        request = vault_pb2.PublishRequest(
            stream=self._stream,
            records=records,
            # By this the vault knows a batch that it has stored already.
            producer=vault_pb2.Producer(id=self._producer_id, sequence=self._sequence),
        )
        give_up_at = time.monotonic() + PUBLISH_SECONDS_MAX
        maybe_stored = False
        for attempt in itertools.count():
            try:
                response = await self._nodes.stub.Publish(request, timeout=ATTEMPT_SECONDS_MAX)
            except grpc.RpcError as error:
                failure = judge(error)
                maybe_stored = maybe_stored or failure.maybe_stored
                pause_seconds = failure.pause_seconds(attempt)
                if not failure.retryable or time.monotonic() + pause_seconds > give_up_at:
                    raise PublishError(f"{error.code().name}: {error.details()}", maybe_stored=maybe_stored) from error
                print(f"publishing again: {error.details()}", file=sys.stderr)
                self._nodes.move_on()
                await asyncio.sleep(pause_seconds)
            else:
                self._sequence += 1
                return response
        raise AssertionError


def read_batches(queue: BatchQueue, loop: asyncio.AbstractEventLoop) -> None:
    """Puts the records of standard input into the queue, then None: as a batch, what has come since the last one."""
    rest = b""
    while chunk := sys.stdin.buffer.read1(READ_BYTES_MAX):
        *lines, rest = (rest + chunk).split(b"\n")
        if batch := [parse_record(line) for line in lines if line]:
            asyncio.run_coroutine_threadsafe(queue.put(batch), loop).result()
    if rest:
        asyncio.run_coroutine_threadsafe(queue.put([parse_record(rest)]), loop).result()
    asyncio.run_coroutine_threadsafe(queue.put(None), loop).result()


def parse_record(line: bytes) -> record_pb2.Record:
    return json_format.Parse(line, record_pb2.Record())


async def main(addresses: str, stream: str) -> None:
    # One batch is read while another is published; then reading waits.
    queue: BatchQueue = asyncio.Queue(1)
    # Standard input can only be waited for in a thread; this one does not keep the program from ending.
    threading.Thread(target=read_batches, args=(queue, asyncio.get_running_loop()), daemon=True).start()
    async with Nodes(addresses.split(",")) as nodes:
        publisher = Publisher(nodes, stream)
        while batch := await queue.get():
            response = await publisher.publish(batch)
            print(json_format.MessageToJson(response, indent=None), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except PublishError as error:
        sys.exit(str(error))
