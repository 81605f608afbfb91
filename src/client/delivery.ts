import { fromBinary } from "@bufbuild/protobuf";
import { timestampMs, TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { Record } from "../../gen/messagevault/v1/record_pb.ts";
import { SubscribeResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import { VaultError } from "../errors.ts";
import { WireCursor } from "../segment/wire.ts";

/** What a subscription yields: a run of records with where the stream stands. */
export interface Delivery {
  /** The response as it was received: a protobuf encoding of SubscribeResponse. */
  readonly bytes: Uint8Array;
  /** How many records it holds; none in a heartbeat. */
  readonly recordCount: number;
  /** The records, in order. They are decoded when this is first read; their bytes are views of `bytes`. */
  readonly records: readonly Record[];
  /** Where to resume: the offset behind the last record that the vault looked at. */
  readonly nextOffset: bigint;
  /** The stream's next offset: `tailOffset - nextOffset` is the lag in records. */
  readonly tailOffset: bigint;
  /** The timestamp of the stream's last record, in milliseconds since 1970; undefined while there is none. */
  readonly tailTimestamp: number | undefined;
  /** True in what reaches the tail, and in heartbeats while there. */
  readonly caughtUp: boolean;
  /** The stream's incarnation. */
  readonly incarnation: string;
}

type Head = { -readonly [K in keyof Omit<Delivery, "bytes" | "records">]: Delivery[K] };

const field = { records: 1, nextOffset: 2, tailOffset: 3, tailTimestamp: 4, caughtUp: 5, incarnation: 6 };

/**
 * Reads what a SubscribeResponse says beside its records, and leaves those alone. `incarnation` is what earlier ones
 * said: not every response repeats it. Throws `corrupt` for what is no SubscribeResponse.
 */
export function readDelivery(bytes: Uint8Array, incarnation: string): Delivery {
  const head = readHead(bytes, incarnation);
  let records: readonly Record[] | undefined;
  return {
    bytes,
    ...head,
    get records() {
      records ??= head.recordCount === 0 ? [] : fromBinary(SubscribeResponseSchema, bytes).records;
      return records;
    },
  };
}

/** Yields each record of a response as it was received: a protobuf encoding of Record. */
export function* cutRecords(response: Uint8Array): Generator<Uint8Array> {
  const cursor = new WireCursor(response);
  while (cursor.position < cursor.end) {
    const tag = cursor.readVarint();
    if (tag >>> 3 === field.records) yield readBytes(cursor);
    else cursor.skip(tag & 7);
  }
}

function readHead(bytes: Uint8Array, incarnation: string) {
  const tailTimestamp: number | undefined = undefined;
  const head: Head = { recordCount: 0, nextOffset: 0n, tailOffset: 0n, tailTimestamp, caughtUp: false, incarnation };
  const cursor = new WireCursor(bytes);
  try {
    while (cursor.position < cursor.end) readField(cursor, head);
  } catch (error) {
    throw new VaultError("corrupt", "the vault sent what is no SubscribeResponse", {}, error);
  }
  return head;
}

function readField(cursor: WireCursor, head: Head): void {
  const tag = cursor.readVarint();
  switch (tag >>> 3) {
    case field.nextOffset:
      head.nextOffset = cursor.readVarint64();
      break;
    case field.tailOffset:
      head.tailOffset = cursor.readVarint64();
      break;
    case field.tailTimestamp:
      head.tailTimestamp = timestampMs(fromBinary(TimestampSchema, readBytes(cursor)));
      break;
    case field.caughtUp:
      head.caughtUp = cursor.readVarint() !== 0;
      break;
    case field.incarnation:
      head.incarnation = Buffer.from(readBytes(cursor)).toString();
      break;
    case field.records:
      head.recordCount++;
      cursor.skip(tag & 7);
      break;
    default:
      cursor.skip(tag & 7);
  }
}

function readBytes(cursor: WireCursor): Uint8Array {
  const sizeBytes = cursor.readLength();
  cursor.position += sizeBytes;
  return cursor.bytes.subarray(cursor.position - sizeBytes, cursor.position);
}
