"""A projection of a stream: replays it into a view, follows its tail, and answers queries over HTTP.

    python projection.py STREAM [--vault HOST:PORT,...] [--file view.db] [--port 8080] [--rebuild]

Stop it as you like, and start it again: it goes on where it was. With --rebuild the view is made anew from the stream's
start, in a second file, while the one that there is goes on to answer.
"""

import argparse
import contextlib
import itertools
import json
import os
import sqlite3
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import grpc
from messagevault.v1 import vault_pb2, vault_pb2_grpc

# A crash may cost the last transactions, as the disk is not waited for (NORMAL): with them goes the position that they
# wrote, so they are replayed.
SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS position (
  one INTEGER PRIMARY KEY CHECK (one = 1), incarnation TEXT NOT NULL, next_offset INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS events (
  offset INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL
) STRICT;
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (body, content = 'events', content_rowid = 'offset');
"""
CHANNEL_OPTIONS = [("grpc.keepalive_time_ms", 20_000), ("grpc.http2.max_pings_without_data", 0)]
# After these it helps to try again; everything else is for a person to look at.
PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.RESOURCE_EXHAUSTED}
RETRY_SECONDS = 0.5
PROGRESS_SECONDS = 0.5
HITS_MAX = 100

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("stream")
parser.add_argument("--vault", default="127.0.0.1:50051")
parser.add_argument("--file", default="view.db")
parser.add_argument("--port", type=int, default=8080)
parser.add_argument("--rebuild", action="store_true")
args = parser.parse_args()
# SQLite's files must not change their names while a query reads them.
swapping = threading.Lock()
status = {"stream": args.stream, "rebuilding": args.rebuild, "nextOffset": None, "lag": None}


def open_view(file: str) -> sqlite3.Connection:
    view = sqlite3.connect(file, isolation_level=None)
    view.executescript(SCHEMA)
    return view


def follow(view: sqlite3.Connection, until_tail: bool = False) -> None:
    """Takes in what the stream has behind the view's position, and goes on with the tail; or ends there."""
    for address in itertools.cycle(args.vault.split(",")):
        try:
            with grpc.insecure_channel(address, CHANNEL_OPTIONS) as channel:
                replay(vault_pb2_grpc.VaultServiceStub(channel), view, until_tail)
                return
        except grpc.RpcError as error:
            if error.code() not in PASSING:
                raise
            print(f"subscribing again: {error.details()}", file=sys.stderr)
            time.sleep(RETRY_SECONDS)


def replay(vault: vault_pb2_grpc.VaultServiceStub, view: sqlite3.Connection, until_tail: bool) -> None:
    request = vault_pb2.SubscribeRequest(stream=args.stream, earliest=vault_pb2.Earliest())
    if position := view.execute("SELECT incarnation, next_offset FROM position").fetchone():
        # Of another life of the stream the offsets mean other records: then the call fails, and --rebuild helps.
        request.incarnation, request.offset = position
    told_at = time.monotonic()
    for response in vault.Subscribe(request):
        request.incarnation = response.incarnation or request.incarnation
        if response.records:
            apply(view, response, request.incarnation)
        status["nextOffset"], tail = response.next_offset, response.tail_offset
        status["lag"] = {"records": tail - response.next_offset}
        if bool(response.records) if response.caught_up else time.monotonic() - told_at > PROGRESS_SECONDS:
            share = 100 * response.next_offset // max(1, tail)
            print(f"{response.next_offset} of {tail} records, {share} %", file=sys.stderr, flush=True)
            told_at = time.monotonic()
        if until_tail and response.caught_up:
            return


def apply(view: sqlite3.Connection, response: vault_pb2.SubscribeResponse, incarnation: str) -> None:
    """Takes records in, and in the same transaction the offset behind them: each is counted once, come what may."""
    rows = [
        (record.offset, record.timestamp.ToMilliseconds(), record.key.decode("utf-8", "replace"), body)
        for record in response.records
        for body in [record.value.decode("utf-8", "replace")]
    ]
    view.execute("BEGIN")
    with view:
        view.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", rows)
        view.executemany("INSERT INTO words (rowid, body) VALUES (?, ?)", [(row[0], row[3]) for row in rows])
        view.execute("REPLACE INTO position VALUES (1, ?, ?)", (incarnation, response.next_offset))


def search(text: str, limit: int) -> dict[str, object]:
    # As strings of FTS5, so that nothing in them is an operator.
    query = " ".join('"' + word.replace('"', '""') + '"' for word in text.split())
    with swapping, contextlib.closing(sqlite3.connect(args.file)) as view:
        (total,) = view.execute("SELECT count(*) FROM words WHERE words MATCH ?", (query,)).fetchone()
        best = view.execute(
            "SELECT offset, timestamp, key, events.body FROM words JOIN events ON events.offset = words.rowid"
            " WHERE words MATCH ? ORDER BY rank, offset LIMIT ?",
            (query, limit),
        )
        return {"total": total, "hits": [dict(zip(("offset", "timestamp", "key", "body"), hit)) for hit in best]}


class Queries(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path == "/search" and query.get("q"):
            body, code = search(query["q"][0], min(HITS_MAX, int(query.get("limit", ["10"])[0]))), 200
        elif url.path == "/status":
            body, code = status, 200
        else:
            body, code = {"error": "GET /search?q=WORDS&limit=10 or /status"}, 404
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body, ensure_ascii=False).encode() + b"\n")

    def log_message(self, *_: object) -> None:
        pass


open_view(args.file).close()
server = ThreadingHTTPServer(("127.0.0.1", args.port), Queries)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"http://127.0.0.1:{server.server_port}", flush=True)
if args.rebuild:
    fresh = args.file + ".new"
    for end in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(fresh + end)
    made = open_view(fresh)
    follow(made, until_tail=True)
    made.close()
    with swapping:
        os.replace(fresh, args.file)
    status["rebuilding"] = False
follow(open_view(args.file))
