import type { VaultClient } from "../client.ts";
import { cutRecords } from "../client/delivery.ts";
import { VaultError } from "../errors.ts";

/** Reads one record of a stream, as it is encoded. Throws `outOfRange`, and `notFound`, where there is none. */
export async function readStoredRecord(client: VaultClient, stream: string, offset: bigint): Promise<Uint8Array> {
  const options = { start: { at: "offset", offset }, end: { at: "count", count: 1n } } as const;
  for await (const delivery of client.subscribe(stream, options).batches()) {
    for (const record of cutRecords(delivery.bytes)) return record;
    // Without it, this would wait for somebody to publish one.
    if (delivery.caughtUp) break;
  }
  throw new VaultError("outOfRange", `the stream ${stream} has no record ${offset}`, { resource: stream });
}
