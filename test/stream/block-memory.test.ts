import { fromBinary } from "@bufbuild/protobuf";
import test from "ava";
import type { ExecutionContext } from "ava";
import { SubscribeResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import { encodeSubscribeResponse } from "../../src/rpc/subscribe-response.ts";
import type { Delivery } from "../../src/stream/commands.ts";
import { someRecords } from "../support/build-commit.ts";
import { createEngine } from "../support/create-engine.ts";
import { publish } from "../support/publish-records.ts";

const KiB = 1024;

/** The deliveries of a replay of 40 records from storage, whose cache has room for a block or two. */
async function replay(t: ExecutionContext, take: (delivery: Delivery) => void): Promise<void> {
  const { open } = createEngine(t, {
    tailBytes: 1,
    blockBytes: 64 * KiB,
    readCacheBytes: 128 * KiB,
    settings: { frameBytes: 32 * KiB, responseBytes: 32 * KiB },
  });
  const { vault } = open();
  for (let i = 0; i < 40; i++) await publish(vault, "s", someRecords(1, 30_000, i));
  const command = {
    stream: "s",
    incarnation: undefined,
    start: { at: "earliest" },
    end: { at: "tail" },
    keyPrefix: new Uint8Array(),
    heartbeatMs: 10_000,
  } as const;
  for await (const delivery of vault.subscribe(command, new AbortController().signal)) take(delivery);
}

function copyOf(delivery: Delivery): Buffer {
  const response = encodeSubscribeResponse(delivery);
  const bytes = Buffer.alloc(response.byteLength);
  response.copy(bytes, 0);
  return bytes;
}

function offsetsIn(responses: readonly Buffer[]): bigint[] {
  return responses.flatMap((response) =>
    fromBinary(SubscribeResponseSchema, response).records.map(({ offset, value }) => {
      if (value.length !== 30_000) throw new Error(`record ${offset} has ${value.length} bytes`);
      return offset;
    }),
  );
}

const allOffsets = Array.from({ length: 40 }, (_, i) => BigInt(i));

test("block memory - it is freed once it is copied and makes room for other blocks", async (t) => {
  const pieces: Uint8Array[] = [];
  const responses: Buffer[] = [];
  await replay(t, (delivery) => {
    pieces.push(...delivery.payload);
    responses.push(copyOf(delivery));
  });
  t.deepEqual(offsetsIn(responses), allOffsets);
  const kept = pieces.filter(({ length }) => length > 0);
  t.true(kept.length <= 4, `${kept.length} of ${pieces.length} frames are in memory still`);
});

test("block memory - what is copied late comes as it was stored", async (t) => {
  const waiting: Delivery[] = [];
  await replay(t, (delivery) => waiting.push(delivery));
  t.deepEqual(offsetsIn(waiting.toReversed().map(copyOf).toReversed()), allOffsets);
});
