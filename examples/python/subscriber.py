"""subscriber.py ADDRESSES STREAM FROM [UNTIL]: prints the records of a stream, one a line in protobuf's JSON form.

ADDRESSES is host:port, or several with commas. FROM is earliest, latest or an offset. UNTIL is tail or an offset;
without it the stream is followed until Ctrl-C. At the end it says where to go on.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator

import grpc
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from messagevault.v1 import vault_pb2

from vault import Nodes, judge

HEARTBEAT_SECONDS = 5
# A connection that brings neither records nor heartbeats for so long is given up.
SILENCE_SECONDS_MAX = 3 * HEARTBEAT_SECONDS


async def subscribe(nodes: Nodes, request: vault_pb2.SubscribeRequest) -> AsyncIterator[vault_pb2.SubscribeResponse]:
    """Yields runs of records, and heartbeats, from the requested start to the requested end.

    Resumes by itself behind what was yielded, for as long as it takes. Reads no faster than it is iterated. Raises
    grpc.RpcError where trying again is of no use. Close it (contextlib.aclosing) to end it before its end.
    """
    resume = vault_pb2.SubscribeRequest()
    resume.CopyFrom(request)
    resume.heartbeat_interval.CopyFrom(Duration(seconds=HEARTBEAT_SECONDS))
    attempt = 0
    while True:
        call = nodes.stub.Subscribe(resume)
        try:
            while True:
                response = await asyncio.wait_for(call.read(), SILENCE_SECONDS_MAX)
                if response is grpc.aio.EOF:
                    return
                attempt = 0
                resume_behind(resume, response)
                yield response
        except TimeoutError:
            reason, pause_seconds = f"silent for {SILENCE_SECONDS_MAX} s", 0.0
        except grpc.RpcError as error:
            failure = judge(error)
            if not failure.retryable:
                raise
            reason, pause_seconds = error.details(), failure.pause_seconds(attempt)
        finally:
            call.cancel()
        print(f"subscribing again: {reason}", file=sys.stderr)
        attempt += 1
        nodes.move_on()
        await asyncio.sleep(pause_seconds)


def resume_behind(request: vault_pb2.SubscribeRequest, response: vault_pb2.SubscribeResponse) -> None:
    """Makes the request go on behind the response."""
    request.offset = response.next_offset
    # Were the stream deleted and made anew, its offsets would mean other records.
    request.incarnation = response.incarnation or request.incarnation
    # The tail as it stood at first, not as it will stand then.
    if request.WhichOneof("end") == "until_tail":
        request.until_offset = response.tail_offset


def parse_request(stream: str, start: str, end: str | None) -> vault_pb2.SubscribeRequest:
    request = vault_pb2.SubscribeRequest(stream=stream)
    if start == "earliest":
        request.earliest.SetInParent()
    elif start == "latest":
        request.latest.SetInParent()
    else:
        request.offset = int(start)
    if end == "tail":
        request.until_tail.SetInParent()
    elif end is not None:
        request.until_offset = int(end)
    return request


async def main(addresses: str, stream: str, start: str, end: str | None = None) -> None:
    task = asyncio.current_task()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, task.cancel)
    next_offset = start
    try:
        async with (
            Nodes(addresses.split(",")) as nodes,
            contextlib.aclosing(subscribe(nodes, parse_request(stream, start, end))) as responses,
        ):
            async for response in responses:
                for record in response.records:
                    print(json_format.MessageToJson(record, indent=None))
                sys.stdout.flush()
                # A real subscriber stores this together with what it made of the records.
                next_offset = response.next_offset
    except asyncio.CancelledError:
        pass
    finally:
        print(f"next offset: {next_offset}", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
