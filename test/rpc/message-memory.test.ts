import test from "ava";
import { freeRequest } from "../../src/rpc/message-memory.ts";
import { createRawClient, createRpcServer, readAll } from "../support/create-rpc-server.ts";

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
