import type { BlobStore } from "../../src/blob/blob-store.ts";
import { openStore } from "../../src/blob/open-store.ts";
import { systemClock } from "../../src/clock.ts";
import { metadataOf } from "../../src/stream/verify-incarnations.ts";
import { verifyStream } from "../../src/stream/verify.ts";

/** What a check of a storage found. */
export interface StorageReport {
  readonly streams: readonly string[];
  /** Faults, one line each; empty is the good answer. */
  readonly findings: readonly string[];
  readonly records: bigint;
  readonly segments: number;
}

/** Checks every stream in the storage that a setting names. A vault on the same files must be stopped before. */
export async function verifyStorage(setting: string): Promise<StorageReport> {
  const store = await openStore(setting, systemClock);
  try {
    return await verifyStore(store);
  } finally {
    await store.close();
  }
}

/** Checks every stream of an open store. */
export async function verifyStore(store: BlobStore): Promise<StorageReport> {
  const page = await store.listFolders("streams/", 5000);
  const streams = page.items.map((folder) => folder.slice("streams/".length));
  const findings: string[] = [];
  let records = 0n;
  let segments = 0;
  for (const stream of streams) {
    // What a deletion or a creation left behind is nobody's stream.
    if ((await metadataOf(store, stream)) === undefined) continue;
    let [recordsHere, segmentsHere] = [0n, 0];
    for await (const event of verifyStream(store, stream, systemClock)) {
      if (event.kind === "finding") findings.push(`${event.blob} at ${event.position ?? "-"}: ${event.problem}`);
      if (event.kind === "progress") [recordsHere, segmentsHere] = [event.records, event.segments];
    }
    records += recordsHere;
    segments += segmentsHere;
  }
  return { streams, findings, records, segments };
}
