import { fromBinary } from "@bufbuild/protobuf";
import type { Record } from "../../gen/messagevault/v1/record_pb.ts";
import { SubscribeResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import type { SubscribeOptions, VaultClient } from "../../src/client.ts";

/** Reads a stream from its first record to the tail as it stands, or as `options` say. */
export async function readStream(
  client: VaultClient,
  stream: string,
  options: Partial<SubscribeOptions> = {},
): Promise<Record[]> {
  const records: Record[] = [];
  const asked = { start: { at: "earliest" }, end: { at: "tail" }, ...options } as const;
  for await (const { bytes } of client.subscribe(stream, asked).batches()) {
    // By the generated code, so that what the client makes of a record is not checked against itself.
    for (const record of fromBinary(SubscribeResponseSchema, bytes).records) records.push(record);
  }
  return records;
}

/** Where the offsets of `records` first are not dense from `first` on; undefined if they are. */
export function findGap(records: readonly Record[], first = 0n): string | undefined {
  for (const [at, { offset }] of records.entries()) {
    if (offset !== first + BigInt(at)) return `offset ${offset} where ${first + BigInt(at)} should be`;
  }
  return undefined;
}
