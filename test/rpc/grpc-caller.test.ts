import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import test from "ava";
import type { ExecutionContext } from "ava";
import { sleep, systemClock } from "../../src/clock.ts";
import { isKind, VaultError } from "../../src/errors.ts";
import type { Caller } from "../../src/rpc/caller.ts";
import { createGrpcCaller } from "../../src/rpc/grpc-caller.ts";
import type { CallContext } from "../../src/rpc/handlers.ts";
import { createProxy } from "../support/create-proxy.ts";
import { createRpcServer } from "../support/create-rpc-server.ts";
import { findFreePort } from "../support/find-free-port.ts";
import { waitUntil } from "../support/wait-until.ts";

const settings = { connectTimeoutMs: 10_000, keepaliveMs: 20_000, keepaliveTimeoutMs: 10_000 };
const never = new AbortController().signal;
const path = "/test.Test/Method";

function createCaller(t: ExecutionContext, changed: Partial<typeof settings> = {}): Caller {
  const caller = createGrpcCaller({ ...settings, ...changed }, systemClock);
  t.teardown(() => caller.close());
  return caller;
}

/** Resolves once the call is given up. */
function forever({ signal }: CallContext): Promise<void> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

async function collect(responses: AsyncIterable<Buffer>): Promise<string[]> {
  const all: string[] = [];
  for await (const response of responses) all.push(response.toString());
  return all;
}

test("grpc caller unary - bytes, metadata and the deadline arrive; the answer comes back", async (t) => {
  const { address } = await createRpcServer(t, {
    [path]: {
      kind: "unary",
      async handle(request, { metadata, deadlineMs }) {
        const inTime = deadlineMs !== undefined && deadlineMs > 1000 && deadlineMs <= 5000;
        return Buffer.from(`${request.toString()} ${metadata.get("messagevault-test")} ${inTime}`);
      },
    },
  });
  const options = { signal: never, deadlineMs: 5000, metadata: { "messagevault-test": "hello" } };
  const answer = await createCaller(t).unary(address, path, Buffer.from("request"), options);
  t.is(answer.toString(), "request hello true");
});

test("grpc caller unary - the other node's status comes back as the error that it stands for", async (t) => {
  const { address } = await createRpcServer(t, {
    [path]: {
      kind: "unary",
      handle: () =>
        Promise.reject(new VaultError("conflict", "no", { condition: "expectedOffset", found: { a: "1" } })),
    },
  });
  const error = await t.throwsAsync(createCaller(t).unary(address, path, Buffer.alloc(0), { signal: never }));
  t.true(isKind(error, "conflict"));
  t.like((error as VaultError).detail, { condition: "expectedOffset", found: { a: "1" } });
});

test("grpc caller unary - a refused connection says that nothing was sent", async (t) => {
  const endpoint = `127.0.0.1:${await findFreePort(t)}`;
  const caller = createCaller(t);
  const from = systemClock.monotonic();
  for (let attempt = 0; attempt < 3; attempt++) {
    const error = await t.throwsAsync(caller.unary(endpoint, path, Buffer.alloc(0), { signal: never }));
    t.true(isKind(error, "unavailable"), String(error));
  }
  t.true(systemClock.monotonic() - from < settings.connectTimeoutMs);
});

test("grpc caller unary - a node that takes connections and says nothing was sent nothing either", async (t) => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => void sockets.push(socket.on("error", () => undefined)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const endpoint = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const caller = createCaller(t, { connectTimeoutMs: 200 });
  const error = await t.throwsAsync(caller.unary(endpoint, path, Buffer.alloc(0), { signal: never }));
  t.true(isKind(error, "unavailable"), String(error));
});

test("grpc caller unary - a link that breaks after sending leaves the outcome unknown", async (t) => {
  let calls = 0;
  const { address } = await createRpcServer(t, {
    [path]: {
      kind: "unary",
      async handle(_request, context) {
        calls++;
        await forever(context);
        return Buffer.alloc(0);
      },
    },
  });
  const proxy = await createProxy(t, address);
  const calling = createCaller(t).unary(proxy.endpoint, path, Buffer.alloc(0), { signal: never });
  await waitUntil(() => calls === 1, "the call has arrived");
  proxy.cut();
  const error = await t.throwsAsync(calling);
  t.true(isKind(error, "indeterminate"), String(error));
});

test("grpc caller unary - calls again soon after the other node has come back", async (t) => {
  const { address } = await createRpcServer(t, {
    [path]: { kind: "unary", handle: async (request) => request },
  });
  const proxy = await createProxy(t, address);
  const caller = createCaller(t);
  proxy.refuse();
  await t.throwsAsync(caller.unary(proxy.endpoint, path, Buffer.from("a"), { signal: never }));
  proxy.restore();
  const deadline = systemClock.monotonic() + 3000;
  let answer: Buffer | undefined;
  while (answer === undefined && systemClock.monotonic() < deadline) {
    answer = await caller.unary(proxy.endpoint, path, Buffer.from("b"), { signal: never }).catch(() => undefined);
    await sleep(systemClock, 10);
  }
  t.is(answer?.toString(), "b");
});

test("grpc caller unary - an aborted call reaches the other node as one that nobody waits for", async (t) => {
  const seen = { begun: false, gone: false };
  const { address } = await createRpcServer(t, {
    [path]: {
      kind: "unary",
      async handle(request, context) {
        seen.begun = true;
        await forever(context);
        seen.gone = true;
        return request;
      },
    },
  });
  const abort = new AbortController();
  const calling = createCaller(t).unary(address, path, Buffer.alloc(0), { signal: abort.signal });
  await waitUntil(() => seen.begun, "the call has arrived");
  abort.abort();
  await t.throwsAsync(calling);
  await waitUntil(() => seen.gone, "the other node knows");
  t.pass();
});

test("grpc caller server stream - yields what comes, then throws the status", async (t) => {
  const { address } = await createRpcServer(t, {
    [path]: {
      kind: "serverStream",
      async *handle() {
        yield Buffer.from("one");
        yield Buffer.from("two");
        throw new VaultError("notFound", "gone", { resource: "orders" });
      },
    },
  });
  const all: string[] = [];
  const error = await t.throwsAsync(async () => {
    const responses = createCaller(t).serverStream(address, path, Buffer.alloc(0), { signal: never });
    for await (const response of responses) all.push(response.toString());
  });
  t.deepEqual(all, ["one", "two"]);
  t.true(isKind(error, "notFound"));
});

test("grpc caller server stream - who stops reading ends the call at the other node", async (t) => {
  const seen = { gone: false };
  const { address } = await createRpcServer(t, {
    [path]: {
      kind: "serverStream",
      async *handle(_request, context) {
        yield Buffer.from("one");
        await forever(context);
        seen.gone = true;
      },
    },
  });
  for await (const response of createCaller(t).serverStream(address, path, Buffer.alloc(0), { signal: never })) {
    t.is(response.toString(), "one");
    break;
  }
  await waitUntil(() => seen.gone, "the other node knows");
});

test("grpc caller duplex - requests and answers go both ways, and the end of the requests arrives", async (t) => {
  const { address } = await createRpcServer(t, {
    [path]: {
      kind: "duplex",
      async *handle(requests) {
        for await (const request of requests) yield Buffer.from(`answer to ${request.toString()}`);
        yield Buffer.from("end");
      },
    },
  });
  async function* requests() {
    for (let i = 0; i < 3; i++) yield Buffer.from(`${i}`);
  }
  const answers = await collect(createCaller(t).duplex(address, path, requests(), { signal: never }));
  t.deepEqual(answers, ["answer to 0", "answer to 1", "answer to 2", "end"]);
});

test("grpc caller duplex - holds the requests back while the other node takes none", async (t) => {
  const gate = Promise.withResolvers<void>();
  const { address } = await createRpcServer(t, {
    [path]: {
      kind: "duplex",
      async *handle(requests) {
        await gate.promise;
        for await (const request of requests) yield Buffer.from(`${request.length}`);
      },
    },
  });
  const state = { given: 0 };
  async function* requests() {
    for (; state.given < 64; state.given++) yield Buffer.alloc(64 * 1024);
  }
  const answers = collect(createCaller(t).duplex(address, path, requests(), { signal: never }));
  await waitUntil(() => state.given > 0, "a request was given");
  await sleep(systemClock, 300);
  t.true(state.given <= 8, `${state.given} requests were taken`);
  gate.resolve();
  t.is((await answers).length, 64);
});

test("grpc caller duplex - requests that fail cut the call off", async (t) => {
  const seen = { gone: false };
  const { address } = await createRpcServer(t, {
    [path]: {
      kind: "duplex",
      async *handle(requests) {
        try {
          for await (const request of requests) yield request;
        } finally {
          seen.gone = true;
        }
      },
    },
  });
  const answered = Promise.withResolvers<void>();
  async function* requests() {
    yield Buffer.from("one");
    await answered.promise;
    throw new VaultError("invalid", "this one is bad");
  }
  const error = await t.throwsAsync(async () => {
    const responses = createCaller(t).duplex(address, path, requests(), { signal: never });
    for await (const response of responses) if (response.length > 0) answered.resolve();
  });
  t.true(isKind(error, "invalid"));
  await waitUntil(() => seen.gone, "the other node knows");
});
