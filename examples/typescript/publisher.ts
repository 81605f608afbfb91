/**
 * publisher.ts ADDRESSES STREAM: publishes the records on standard input, one a line in protobuf's JSON form. Prints a
 * PublishResponse, in that form too, for each batch that is stored. ADDRESSES is host:port, or several with commas.
 *
 * The client has in it what the other languages' examples show: a producer's sequence, safe retries, deadlines.
 */
import { connect, VaultError } from "message-vault/client";
import type { RecordInput, VaultClient } from "message-vault/client";
import { parseRecord, readLines } from "./json-record.ts";

// A batch is closed at either; with the record that goes over it must stay below the vault's 4 MiB.
const batchRecordsMax = 1000;
const batchBytesMax = 256 * 1024;

const [addresses, stream] = process.argv.slice(2);
if (addresses === undefined || stream === undefined) {
  console.error("usage: publisher.ts ADDRESSES STREAM");
  process.exit(2);
}
const client = connect({ addresses: addresses.split(",") });
try {
  await publishLines(client, stream);
} catch (error) {
  if (!(error instanceof VaultError)) throw error;
  // `indeterminate`: the batch may or may not be stored. Any other kind: it is not.
  console.error(`${error.kind}: ${error.message}`);
  process.exitCode = 1;
} finally {
  client.close();
}

async function publishLines(vault: VaultClient, name: string): Promise<void> {
  const publisher = vault.publisher(name);
  const batch: RecordInput[] = [];
  let batchBytes = 0;
  let sending: Promise<void> | undefined;

  const send = async () => {
    const { firstOffset, nextOffset, timestamp, duplicate } = await publisher.publish(batch.splice(0));
    const receipt = { firstOffset: `${firstOffset}`, nextOffset: `${nextOffset}`, timestamp: new Date(timestamp) };
    console.log(JSON.stringify({ ...receipt, duplicate }));
  };
  // While a batch is on its way, the next one is collected.
  const sendNext = async () => {
    for (; batch.length > 0; batchBytes = 0) await send();
    sending = undefined;
  };

  for await (const line of readLines(process.stdin)) {
    const record = parseRecord(line);
    batch.push(record);
    batchBytes += record.value.length;
    sending ??= sendNext();
    if (batch.length >= batchRecordsMax || batchBytes >= batchBytesMax) await sending;
  }
  await sending;
  await publisher.close();
}
