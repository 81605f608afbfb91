/** Reads a stream straight from storage, frame by frame, more credulously than recovery does: to find what is wrong. */
import { fromBinary } from "@bufbuild/protobuf";
import { SubscribeResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import type { BlobReader } from "../../src/blob/blob-store.ts";
import { frameFlags, incarnationSeed, parseFrame } from "../../src/segment/format.ts";
import type { Frame } from "../../src/segment/format.ts";
import { readMetadata, segmentPrefix } from "../../src/stream/metadata.ts";
import { listSegments } from "../../src/stream/segment-list.ts";
import { readId } from "./failover-history.ts";

/** What a stream holds. */
export interface StoredStream {
  readonly stream: string;
  /** The ids in the records, by offset. */
  readonly ids: readonly number[];
  /** The epochs that frames were written under, each once for a run of frames. */
  readonly epochs: readonly number[];
  /** Frames of an epoch behind those of a newer one. */
  readonly staleFrames: readonly string[];
  /** Other faults: offsets that are not dense, times that go back. */
  readonly faults: readonly string[];
  readonly segmentCount: number;
}

interface Findings {
  readonly ids: number[];
  readonly epochs: number[];
  readonly staleFrames: string[];
  readonly faults: string[];
  timestamp: number;
}

/** Reads every frame of a stream that is not written to any more. */
export async function readStoredStream(store: BlobReader, stream: string): Promise<StoredStream> {
  const findings: Findings = { ids: [], epochs: [], staleFrames: [], faults: [], timestamp: 0 };
  const stored = await readMetadata(store, stream);
  if (stored === undefined) throw new Error(`there is no stream ${stream}`);
  const { incarnation } = stored.metadata;
  const segments = await listSegments(store, segmentPrefix(stream, incarnation));
  for (const { blob, firstOffset } of segments) {
    if (Number(firstOffset) !== findings.ids.length)
      findings.faults.push(`${blob} where ${findings.ids.length} is next`);
    const properties = await store.properties(blob);
    const { bytes } = await store.read(blob, 0, properties?.sizeBytes ?? 0);
    readFrames(blob, bytes, incarnationSeed(incarnation), findings);
  }
  return { stream, ...findings, segmentCount: segments.length };
}

function readFrames(blob: string, bytes: Buffer, seed: number, findings: Findings): void {
  for (let position = 0; position < bytes.length;) {
    const frame = parseFrame(bytes, position, position, seed);
    if (frame === undefined) return;
    noteFrame(blob, frame, findings);
    position = frame.endPosition;
  }
}

function noteFrame(blob: string, frame: Frame, findings: Findings): void {
  const place = `${blob} at ${frame.position}`;
  const epoch = findings.epochs.at(-1) ?? 0;
  if (frame.epoch < epoch) findings.staleFrames.push(`${place}: epoch ${frame.epoch} behind ${epoch}`);
  if (frame.epoch !== epoch) findings.epochs.push(frame.epoch);
  if (frame.timestamp < findings.timestamp) findings.faults.push(`${place}: time goes back`);
  findings.timestamp = frame.timestamp;
  if (Number(frame.firstOffset) !== findings.ids.length) {
    findings.faults.push(`${place}: offset ${frame.firstOffset} where ${findings.ids.length} is next`);
  }
  if ((frame.flags & frameFlags.data) === 0) return;
  for (const { offset, value } of fromBinary(SubscribeResponseSchema, frame.payload).records) {
    if (Number(offset) !== findings.ids.length) findings.faults.push(`${place}: record ${offset}`);
    findings.ids.push(readId(value));
  }
}
