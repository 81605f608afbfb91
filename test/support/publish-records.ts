import { create, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { PublishRequestSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import type { RecordSchema } from "../../gen/messagevault/v1/record_pb.ts";
import { parsePublishRequest } from "../../src/rpc/publish-request.ts";
import { batchBytesMax } from "../../src/segment/commit.ts";
import type { RecordBatch, RecordLimits } from "../../src/segment/batch.ts";
import type { PublishCommand, PublishResult, VaultApi } from "../../src/stream/commands.ts";

/** A record as protobuf-es takes it. */
export type RecordInit = MessageInitShape<typeof RecordSchema>;

/** What a publish says beside its records. */
export interface PublishOptions {
  readonly expectedOffset?: bigint;
  readonly producer?: { readonly id: string; readonly sequence: bigint };
  readonly incarnation?: string;
}

/** The limits that a vault has by default. */
export const recordLimits: RecordLimits = { recordBytesMax: 1024 * 1024, keyBytesMax: 1024, batchBytesMax };

/** A publish of these records, as the RPC layer hands it on. */
export function publishCommand(
  stream: string,
  records: readonly RecordInit[],
  options: PublishOptions = {},
  limits = recordLimits,
): PublishCommand {
  const request = create(PublishRequestSchema, { stream, records: [...records], ...options });
  return parsePublishRequest(Buffer.from(toBinary(PublishRequestSchema, request)), limits);
}

/** The batch that these records make, as one with a producer: with a checksum. */
export function batchOf(records: readonly RecordInit[], limits = recordLimits): RecordBatch {
  return publishCommand("s", records, { producer: { id: "p", sequence: 0n } }, limits).batch;
}

/** Publishes records, or the values of records. */
export function publish(
  vault: VaultApi,
  stream: string,
  records: readonly (string | RecordInit)[],
  options: PublishOptions = {},
): Promise<PublishResult> {
  const inits = records.map((record) => (typeof record === "string" ? { value: Buffer.from(record) } : record));
  return vault.publish(publishCommand(stream, inits, options));
}
