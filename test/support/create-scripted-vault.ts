import { fromBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ExecutionContext } from "ava";
import { PublishRequestSchema, PublishResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import { SubscribeRequestSchema, SubscribeResponseSchema, VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import type { PublishRequest, SubscribeRequest } from "../../gen/messagevault/v1/vault_pb.ts";
import { encodeResponse, methodPath } from "../../src/rpc/handlers.ts";
import type { CallContext } from "../../src/rpc/handlers.ts";
import { createRpcServer } from "./create-rpc-server.ts";

type PublishAnswer = MessageInitShape<typeof PublishResponseSchema>;
type SubscribeAnswer = MessageInitShape<typeof SubscribeResponseSchema>;

/** What a vault does in each call, in order; the last script serves all further calls. */
export interface Scripts {
  readonly publishStream?: readonly ((
    requests: AsyncIterable<PublishRequest>,
    context: CallContext,
  ) => AsyncIterable<PublishAnswer>)[];
  readonly publish?: readonly ((request: PublishRequest, context: CallContext) => Promise<PublishAnswer>)[];
  readonly subscribe?: readonly ((request: SubscribeRequest, context: CallContext) => AsyncIterable<SubscribeAnswer>)[];
}

/** A server that stores nothing and fails just as a test wants it: what a real vault does only by bad luck. */
export async function createScriptedVault(t: ExecutionContext, scripts: Scripts): Promise<{ endpoint: string }> {
  const { publishStream = [], publish = [], subscribe = [] } = scripts;
  const takers = { publishStream: taker(publishStream), publish: taker(publish), subscribe: taker(subscribe) };
  const { method } = VaultService;
  const { address } = await createRpcServer(t, {
    [methodPath(method.publishStream)]: {
      kind: "duplex",
      async *handle(requests, context) {
        for await (const answer of takers.publishStream()(decode(requests), context)) {
          yield encodeResponse(PublishResponseSchema, answer);
        }
      },
    },
    [methodPath(method.publish)]: {
      kind: "unary",
      async handle(bytes, context) {
        const answer = await takers.publish()(fromBinary(PublishRequestSchema, bytes), context);
        return encodeResponse(PublishResponseSchema, answer);
      },
    },
    [methodPath(method.subscribe)]: {
      kind: "serverStream",
      async *handle(bytes, context) {
        for await (const answer of takers.subscribe()(fromBinary(SubscribeRequestSchema, bytes), context)) {
          yield encodeResponse(SubscribeResponseSchema, answer);
        }
      },
    },
  });
  return { endpoint: address };
}

async function* decode(requests: AsyncIterable<Buffer>): AsyncGenerator<PublishRequest> {
  for await (const bytes of requests) yield fromBinary(PublishRequestSchema, bytes);
}

function taker<T>(scripts: readonly T[]): () => T {
  let next = 0;
  return () => {
    const script = scripts[Math.min(next++, scripts.length - 1)];
    if (script === undefined) throw new Error("the test has no script for this call");
    return script;
  };
}

/** Answers a publish request as if its sequence were its offset. */
export function answer(request: PublishRequest): PublishAnswer {
  const firstOffset = request.producer?.sequence ?? 0n;
  return { firstOffset, nextOffset: firstOffset + 1n, incarnation: "feed" };
}

/** Waits until the call is given up: a vault that says nothing. */
export function beSilent(context: CallContext): Promise<void> {
  return new Promise((resolve) => context.signal.addEventListener("abort", () => resolve(), { once: true }));
}
