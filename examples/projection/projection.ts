/**
 * A projection of a stream: replays it into a view, follows its tail, and answers queries over HTTP.
 *
 *     node projection.ts STREAM [--vault HOST:PORT,...] [--file view.db] [--port 8080] [--rebuild]
 *
 * Stop it as you like, and start it again: it goes on where it was. With --rebuild the view is made anew from the
 * stream's start, in a second file, while the one that there is goes on to answer.
 */
import { renameSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate } from "node:timers/promises";
import { parseArgs } from "node:util";
import { connect } from "message-vault/client";
import type { Lag, VaultClient } from "message-vault/client";
import { View } from "./view.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    vault: { type: "string", default: "127.0.0.1:50051" },
    file: { type: "string", default: "view.db" },
    port: { type: "string", default: "8080" },
    rebuild: { type: "boolean", default: false },
  },
});
const [stream] = positionals;
if (stream === undefined) throw new Error("name the stream: node projection.ts STREAM");

const hitsMax = 100;
const progressMs = 500;

/** What the service stands for: the view that answers, and how far the one that is being made is. */
const state: { view: View; rebuilding: boolean; nextOffset: bigint | undefined; lag: Lag | undefined } = {
  view: new View(values.file),
  rebuilding: values.rebuild,
  nextOffset: undefined,
  lag: undefined,
};

/** Takes in what the stream has behind the view's position, and goes on with the tail; or ends there. */
async function follow(client: VaultClient, view: View, signal: AbortSignal, untilTail: boolean): Promise<void> {
  const position = view.position;
  const start = position ? ({ at: "offset", offset: position.nextOffset } as const) : ({ at: "earliest" } as const);
  // Of another life of the stream the offsets mean other records: then the subscription fails, and --rebuild helps.
  const subscription = client.subscribe(stream!, { start, incarnation: position?.incarnation, signal });
  let toldAt = Date.now();
  for await (const batch of subscription.batches()) {
    if (batch.recordCount > 0) view.apply(batch.records, batch.incarnation, batch.nextOffset);
    state.nextOffset = batch.nextOffset;
    state.lag = batch.lag;
    if (batch.caughtUp ? batch.recordCount > 0 : Date.now() - toldAt > progressMs) {
      const share = (100 * Number(batch.nextOffset)) / Math.max(1, Number(batch.tailOffset));
      console.error(`${batch.nextOffset} of ${batch.tailOffset} records, ${Math.floor(share)} %`);
      toldAt = Date.now();
    }
    if (untilTail && batch.caughtUp) return;
    // While there is more to replay nothing else would be done: now queries have their turn.
    await setImmediate();
  }
}

/** Makes the view anew beside the one that answers, then puts it in its place. */
async function rebuild(client: VaultClient, signal: AbortSignal): Promise<void> {
  const file = `${values.file}.new`;
  for (const end of ["", "-wal", "-shm"]) rmSync(file + end, { force: true });
  const view = new View(file);
  await follow(client, view, signal, true);
  view.close();
  if (signal.aborted) return;
  state.view.close();
  renameSync(file, values.file);
  state.view = new View(values.file);
  state.rebuilding = false;
}

/** The answer to a query; undefined for what is none. */
function answer(url: URL): unknown {
  const query = url.searchParams.get("q")?.trim();
  const limit = Math.min(hitsMax, Number(url.searchParams.get("limit") ?? 10) || 0);
  if (url.pathname === "/search" && query) return state.view.search(query, limit);
  if (url.pathname !== "/status") return undefined;
  const { rebuilding, nextOffset, lag } = state;
  return { stream, rebuilding, nextOffset: Number(nextOffset), lag: lag && { ...lag, records: Number(lag.records) } };
}

const server = createServer((request, response) => {
  const body = answer(new URL(request.url ?? "/", "http://localhost"));
  response.writeHead(body === undefined ? 404 : 200, { "content-type": "application/json" });
  response.end(`${JSON.stringify(body ?? { error: "GET /search?q=WORDS&limit=10 or /status" })}\n`);
});
server.listen(Number(values.port), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
// A projection has nothing better to do than to wait for its vault.
const client = connect({ addresses: values.vault.split(","), retryForMs: Infinity });
try {
  if (values.rebuild) await rebuild(client, stop.signal);
  await follow(client, state.view, stop.signal, false);
} finally {
  client.close();
  server.close();
  server.closeAllConnections();
  state.view.close();
}
