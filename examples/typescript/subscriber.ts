/**
 * subscriber.ts ADDRESSES STREAM FROM [UNTIL]: prints the records of a stream, one a line in protobuf's JSON form.
 * ADDRESSES is host:port, or several with commas. FROM is earliest, latest or an offset. UNTIL is tail or an offset;
 * without it the stream is followed until Ctrl-C. At the end it says where to go on.
 *
 * The client has in it what the other languages' examples show: it resumes by itself, notices a silent connection by
 * missed heartbeats, and reads no faster than it is iterated.
 */
import { once } from "node:events";
import { connect, VaultError } from "message-vault/client";
import type { End, Start } from "message-vault/client";
import { formatRecord } from "./json-record.ts";

const [addresses, stream, from, until] = process.argv.slice(2);
if (addresses === undefined || stream === undefined || from === undefined) {
  console.error("usage: subscriber.ts ADDRESSES STREAM FROM [UNTIL]");
  process.exit(2);
}
const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stopping.abort());

const client = connect({
  addresses: addresses.split(","),
  // A tail is held for as long as it takes.
  retryForMs: Infinity,
});
const subscription = client.subscribe(stream, {
  start: parseStart(from),
  end: parseEnd(until),
  heartbeatMs: 5000,
  signal: stopping.signal,
});
let nextOffset = from;
try {
  for await (const batch of subscription.batches()) {
    const lines = batch.records.map((record) => `${formatRecord(record)}\n`).join("");
    if (!process.stdout.write(lines)) await once(process.stdout, "drain");
    // A real subscriber stores this together with what it made of the records.
    nextOffset = batch.nextOffset.toString();
  }
} catch (error) {
  if (!(error instanceof VaultError)) throw error;
  console.error(`${error.kind}: ${error.message}`);
  process.exitCode = 1;
} finally {
  client.close();
  console.error(`next offset: ${nextOffset}`);
}

function parseStart(text: string): Start {
  if (text === "earliest" || text === "latest") return { at: text };
  return { at: "offset", offset: BigInt(text) };
}

function parseEnd(text: string | undefined): End {
  if (text === undefined) return { at: "never" };
  return text === "tail" ? { at: "tail" } : { at: "offset", offset: BigInt(text) };
}
