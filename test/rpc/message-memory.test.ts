import test from "ava";
import type { WireBytes } from "../../src/rpc/handlers.ts";
import { freeRequest, toOutgoing } from "../../src/rpc/message-memory.ts";
import { createRawClient, createRpcServer, createStalledCall, readAll } from "../support/create-rpc-server.ts";
import { waitUntil, waitUntilStill } from "../support/wait-until.ts";

const path = "/test.Service/Call";
const large = Buffer.alloc(300_000, 7);

test("request memory - a request that came over the network is freed at once", async (t) => {
  const lengths: number[] = [];
  const { address } = await createRpcServer(t, {
    [path]: {
      kind: "unary",
      async handle(request) {
        const { buffer } = request;
        lengths.push(request.length, buffer.byteLength);
        freeRequest(request);
        lengths.push(request.length, buffer.byteLength);
        return Buffer.alloc(0);
      },
    },
  });
  await createRawClient(t, address).unary(path, large);
  t.deepEqual(lengths, [large.length, large.length + 5, 0, 0]);
});

test("request memory - so is one of a stream of requests, and the next ones come as they are", async (t) => {
  const seen: boolean[] = [];
  const { address } = await createRpcServer(t, {
    [path]: {
      kind: "duplex",
      async *handle(requests) {
        for await (const request of requests) {
          seen.push(request.equals(large));
          freeRequest(request);
          seen.push(request.length === 0);
        }
        yield Buffer.from("done");
      },
    },
  });
  const call = createRawClient(t, address).duplex(path);
  for (let i = 0; i < 5; i++) call.write(large);
  call.end();
  await readAll(call);
  t.deepEqual(seen, Array<boolean>(10).fill(true));
});

test("request memory - what others may share stays", (t) => {
  const small = Buffer.from("in Node's pool");
  const alone = Buffer.from(large);
  const view = Buffer.alloc(large.length + 6).subarray(5, -1);
  for (const bytes of [small, alone, view]) {
    const before = Buffer.from(bytes);
    freeRequest(bytes);
    t.deepEqual(bytes, before);
  }
});

/** Responses that note what the transport copies them to. */
function createNotedResponses(count: number) {
  const targets: Uint8Array[] = [];
  const responses = Array.from({ length: count }, (_, i): WireBytes => {
    const bytes = Buffer.alloc(large.length, i + 1);
    const copy = (target: Uint8Array, at: number) => {
      targets.push(target);
      bytes.copy(target, at);
    };
    return { byteLength: bytes.length, copy };
  });
  return { targets, responses };
}

test("response memory - the transport's copy is freed when the response is sent, and all responses come whole", async (t) => {
  const { targets, responses } = createNotedResponses(20);
  const { address } = await createRpcServer(t, {
    [path]: {
      kind: "serverStream",
      async *handle() {
        yield* responses;
      },
    },
  });
  const { responses: came } = await readAll(createRawClient(t, address).serverStream(path, Buffer.alloc(0)));
  t.is(came.length, responses.length);
  t.true(came.every((bytes, i) => bytes.equals(Buffer.alloc(large.length, i + 1))));
  await waitUntil(() => targets.every((target) => target.length === 0), "all are freed");
  t.is(targets.length, responses.length);
});

test("response memory - what a client does not take stays until it does", async (t) => {
  const { targets, responses } = createNotedResponses(1);
  const { address } = await createRpcServer(t, {
    [path]: {
      kind: "serverStream",
      async *handle() {
        yield* responses;
      },
    },
  });
  const call = createStalledCall(t, address, path, Buffer.alloc(0));
  const target = () => targets[0]?.length ?? -1;
  t.is(await waitUntilStill(target, 0, "what the client did not take"), large.length + 5);
  const taken: Buffer[] = [];
  call.on("data", (bytes: Buffer) => taken.push(bytes));
  await waitUntil(() => target() === 0, "it is freed");
  await waitUntil(() => call.readableEnded, "the client has all");
  t.true(Buffer.concat(taken).subarray(5).equals(Buffer.alloc(large.length, 1)));
});

test("response memory - what lies in memory that others share stays", (t) => {
  const shared = Buffer.alloc(large.length + 1);
  const response = toOutgoing(large);
  response.free();
  response.copy(shared.subarray(1), 0);
  response.free();
  t.is(shared.length, large.length + 1);
  const small = toOutgoing(Buffer.from("in Node's pool"));
  const target = Buffer.alloc(small.byteLength);
  small.copy(target, 0);
  small.free();
  t.deepEqual(target, Buffer.from("in Node's pool"));
});
