import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { PublishRequestSchema, PublishResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import type { EncodedBatch } from "./batch-builder.ts";

/** Where a batch was stored. */
export interface PublishReceipt {
  readonly stream: string;
  readonly firstOffset: bigint;
  readonly nextOffset: bigint;
  /** The timestamp of the batch's records, in milliseconds since 1970. */
  readonly timestamp: number;
  /** True if the batch had been stored before, by an attempt whose answer was lost. */
  readonly duplicate: boolean;
  readonly incarnation: string;
}

/** What may be asked of a batch beside being stored. */
export interface PublishConditions {
  /** The offset that the batch's first record must get; else the publish fails with `conflict`. */
  readonly expectedOffset?: bigint | undefined;
  /** The incarnation that the stream must have; else the publish fails with `conflict`. */
  readonly incarnation?: string | undefined;
  /** Who publishes, and the number of the batch: it is stored once, however often it is sent. */
  readonly producer?: { readonly id: string; readonly sequence: bigint } | undefined;
}

/** Encodes a publish request. */
export function encodePublishRequest(stream: string, batch: EncodedBatch, conditions: PublishConditions): Buffer {
  const { expectedOffset, incarnation = "", producer } = conditions;
  const head = create(PublishRequestSchema, {
    stream,
    incarnation,
    ...(expectedOffset === undefined ? {} : { expectedOffset }),
    ...(producer === undefined ? {} : { producer }),
  });
  return Buffer.concat([toBinary(PublishRequestSchema, head), batch.bytes]);
}

/** Decodes the answer to a publish request. */
export function decodePublishResponse(stream: string, bytes: Uint8Array): PublishReceipt {
  const response = fromBinary(PublishResponseSchema, bytes);
  return {
    stream,
    firstOffset: response.firstOffset,
    nextOffset: response.nextOffset,
    timestamp: response.timestamp === undefined ? 0 : timestampMs(response.timestamp),
    duplicate: response.duplicate,
    incarnation: response.incarnation,
  };
}
