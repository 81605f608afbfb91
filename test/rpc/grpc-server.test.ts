import { constants } from "node:http2";
import type { ClientHttp2Stream } from "node:http2";
import { status } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import test from "ava";
import type { ExecutionContext } from "ava";
import { VaultError } from "../../src/errors.ts";
import { receiveBytesMax } from "../../src/rpc/grpc-server.ts";
import { callUnsentBytesMax } from "../../src/rpc/response-room.ts";
import type { CallContext, HandlerTable, WireBytes } from "../../src/rpc/handlers.ts";
import { createRawClient, createRpcServer, createStalledCall, readAll } from "../support/create-rpc-server.ts";
import { waitUntil, waitUntilStill } from "../support/wait-until.ts";

const path = "/test.Service/Call";
const request = Buffer.from("request");

function unary(handle: (request: Buffer, context: CallContext) => Promise<Uint8Array>): HandlerTable {
  return { [path]: { kind: "unary", handle } };
}

function serverStream(handle: (request: Buffer, context: CallContext) => AsyncIterable<WireBytes>): HandlerTable {
  return { [path]: { kind: "serverStream", handle } };
}

function duplex(
  handle: (requests: AsyncIterable<Buffer>, context: CallContext) => AsyncIterable<WireBytes>,
): HandlerTable {
  return { [path]: { kind: "duplex", handle } };
}

async function throwsStatus(t: ExecutionContext, call: Promise<unknown>): Promise<ServiceError> {
  return (await t.throwsAsync(call)) as ServiceError;
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

test("unary call - the handler gets the bytes, the peer and the metadata, and its bytes come back", async (t) => {
  let seen: CallContext | undefined;
  const { address } = await createRpcServer(
    t,
    unary(async (bytes, context) => {
      seen = context;
      return Uint8Array.of(...bytes, 33);
    }),
  );
  const response = await createRawClient(t, address).unary(path, request, { deadline: Date.now() + 60_000 });
  t.is(response.toString(), "request!");
  t.regex(seen!.peer, /^127\.0\.0\.1:\d+$/);
  t.true(seen!.deadlineMs! > 0 && seen!.deadlineMs! <= 60_000);
  t.is(seen!.metadata.get("no-such-name"), undefined);
  t.regex(seen!.metadata.get("user-agent")!, /grpc/);
  t.false(seen!.signal.aborted);
});

for (const [title, failing] of [
  ["rejects", () => Promise.reject(new VaultError("conflict", "no"))],
  [
    "throws at once",
    () => {
      throw new VaultError("conflict", "no");
    },
  ],
] as const) {
  test(`unary call - a handler that ${title} ends the call with the error's status`, async (t) => {
    const { address } = await createRpcServer(t, unary(failing));
    const error = await throwsStatus(t, createRawClient(t, address).unary(path, request));
    t.is(error.code, status.FAILED_PRECONDITION);
    t.is(error.details, "no");
    t.is(error.metadata.get("grpc-status-details-bin").length, 1);
  });
}

test("unary call - an unexpected error is INTERNAL, tells nothing of the inside, and is logged", async (t) => {
  const logged: unknown[] = [];
  const log = {
    debug() {},
    info() {},
    warn() {},
    error: (event: string, fields?: object) => logged.push({ event, ...fields }),
  };
  const failure = new TypeError("secret of the inside");
  const { address } = await createRpcServer(
    t,
    unary(() => Promise.reject(failure)),
    {},
    log,
  );
  const error = await throwsStatus(t, createRawClient(t, address).unary(path, request));
  t.is(error.code, status.INTERNAL);
  t.notRegex(error.details, /secret/);
  t.deepEqual(logged, [{ event: "call failed", path, error: failure }]);
});

test("unary call - a message with half a surrogate pair or of any length still ends the call", async (t) => {
  const failing = () => Promise.reject(new VaultError("invalid", "\uD800" + "€".repeat(100_000)));
  const { address } = await createRpcServer(t, unary(failing));
  const error = await throwsStatus(t, createRawClient(t, address).unary(path, request));
  t.is(error.code, status.INVALID_ARGUMENT);
  t.regex(error.details, /€…$/);
});

test("unary call - a cancel aborts the handler's signal", async (t) => {
  let context: CallContext | undefined;
  const { address } = await createRpcServer(
    t,
    unary(async (_request, callContext) => {
      context = callContext;
      await untilAborted(callContext.signal);
      return request;
    }),
  );
  const client = createRawClient(t, address);
  // Long enough for the request to arrive on a busy machine: one that does not is never handled.
  const abort = client.unary(path, request, { deadline: Date.now() + 3000 });
  const error = await throwsStatus(t, abort);
  t.is(error.code, status.DEADLINE_EXCEEDED);
  await waitUntil(() => context?.signal.aborted === true, "signal aborted");
});

test("unary call - a request above the limit is refused, one at the limit is not", async (t) => {
  const { address } = await createRpcServer(
    t,
    unary(async (bytes) => Buffer.from(`${bytes.length}`)),
  );
  const client = createRawClient(t, address);
  t.is((await client.unary(path, Buffer.alloc(receiveBytesMax))).toString(), `${receiveBytesMax}`);
  const error = await throwsStatus(t, client.unary(path, Buffer.alloc(receiveBytesMax + 1)));
  t.is(error.code, status.RESOURCE_EXHAUSTED);
});

test("calls - above the limit they are refused with RESOURCE_EXHAUSTED, and fit again when others end", async (t) => {
  const release: (() => void)[] = [];
  const { address } = await createRpcServer(
    t,
    unary((bytes) => new Promise((resolve) => release.push(() => resolve(bytes)))),
    { callsMax: 2 },
  );
  const client = createRawClient(t, address);
  const running = [client.unary(path, request), client.unary(path, request)];
  await waitUntil(() => release.length === 2, "two calls under way");
  const error = await throwsStatus(t, client.unary(path, request));
  t.is(error.code, status.RESOURCE_EXHAUSTED);
  for (const end of release.splice(0)) end();
  await Promise.all(running);
  const again = client.unary(path, request);
  await waitUntil(() => release.length === 1, "a call under way again");
  release[0]!();
  await t.notThrowsAsync(again);
});

test("server stream - all responses come before the status of a handler that fails", async (t) => {
  const { address } = await createRpcServer(
    t,
    serverStream(async function* () {
      for (let i = 0; i < 100; i++) yield Buffer.alloc(callUnsentBytesMax / 8, i);
      throw new VaultError("corrupt", "damaged");
    }),
  );
  const { responses, status: end } = await readAll(createRawClient(t, address).serverStream(path, request));
  t.is(end.code, status.DATA_LOSS);
  t.deepEqual(
    responses.map((response) => response[0]),
    Array.from({ length: 100 }, (_, i) => i),
  );
});

test("server stream - a client that does not read stops the handler, and reading on starts it again", async (t) => {
  let produced = 0;
  const count = 100;
  const { address } = await createRpcServer(
    t,
    serverStream(async function* () {
      for (; produced < count; produced++) yield Buffer.alloc(64 * 1024);
    }),
  );
  const call = createStalledCall(t, address, path, request);
  const still = await waitUntilStill(() => produced, 1, "the handler");
  // A window of 64 KiB is with the client, one message with HTTP/2, the rest within our limit.
  const bound = 2 + Math.ceil(callUnsentBytesMax / (64 * 1024)) + 1;
  t.true(still <= bound, `${still} responses were made for a client that reads none`);
  let bytes = 0;
  call.on("data", (chunk: Buffer) => (bytes += chunk.length));
  await new Promise((resolve) => call.once("end", resolve));
  t.is(bytes, count * (64 * 1024 + 5));
});

for (const [title, leave] of [
  ["a cancel", (call: ClientHttp2Stream) => call.close(constants.NGHTTP2_CANCEL)],
  ["a connection that breaks", (call: ClientHttp2Stream) => call.session?.destroy()],
] as const) {
  test(`server stream - ${title} ends a handler that waits for room`, async (t) => {
    let produced = 0;
    let ended = false;
    const { address } = await createRpcServer(
      t,
      serverStream(async function* () {
        try {
          for (; ; produced++) yield Buffer.alloc(callUnsentBytesMax / 2);
        } finally {
          ended = true;
        }
      }),
    );
    const call = createStalledCall(t, address, path, request);
    await new Promise((resolve) => call.once("response", resolve));
    t.is(await waitUntilStill(() => produced, 0, "the handler"), 1);
    leave(call);
    await waitUntil(() => ended, "the handler ended");
  });
}

test("server stream - a cancel ends a handler that waits for news", async (t) => {
  let ended = false;
  const { address } = await createRpcServer(
    t,
    serverStream(async function* (_request, { signal }) {
      yield request;
      await untilAborted(signal);
      ended = true;
    }),
  );
  const call = createRawClient(t, address).serverStream(path, request);
  call.on("error", () => {});
  await new Promise((resolve) => call.once("data", resolve));
  call.cancel();
  await waitUntil(() => ended, "the handler ended");
  t.pass();
});

test("server stream - a connection that breaks aborts the signal", async (t) => {
  let signal: AbortSignal | undefined;
  const { address } = await createRpcServer(
    t,
    serverStream(async function* (_request, context) {
      signal = context.signal;
      yield request;
      await untilAborted(signal);
    }),
  );
  const client = createRawClient(t, address);
  const call = client.serverStream(path, request);
  call.on("error", () => {});
  await new Promise((resolve) => call.once("data", resolve));
  client.close();
  call.cancel();
  await waitUntil(() => signal!.aborted, "signal aborted");
  t.pass();
});

test("duplex call - requests come in order, the half-close ends them, responses go out meanwhile", async (t) => {
  const { address } = await createRpcServer(
    t,
    duplex(async function* (requests) {
      for await (const bytes of requests) yield bytes;
      yield Buffer.from("end");
    }),
  );
  const call = createRawClient(t, address).duplex(path);
  const all = readAll(call);
  for (let i = 0; i < 100; i++) call.write(Buffer.from(`${i}`));
  call.end();
  const { responses, status: end } = await all;
  t.deepEqual(responses.map(String), [...Array.from({ length: 100 }, (_, i) => `${i}`), "end"]);
  t.is(end.code, status.OK);
});

test("duplex call - a handler that does not read holds the client back", async (t) => {
  let go = () => {};
  const gate = new Promise<void>((resolve) => (go = resolve));
  let read = 0;
  const { address } = await createRpcServer(
    t,
    duplex(async function* (requests) {
      for await (const _bytes of requests) {
        if (read++ === 0) await gate;
      }
      yield request;
    }),
  );
  const call = createRawClient(t, address).duplex(path);
  const all = readAll(call);
  let sent = 0;
  const count = 64;
  for (let i = 0; i < count; i++) call.write(Buffer.alloc(512 * 1024), () => sent++);
  call.end();
  await waitUntil(() => read === 1, "the first request is read");
  await waitUntilStill(() => sent, 1, "the client");
  // One in the handler, one read ahead, one that has arrived in grpc-js, and a window's worth on the way.
  t.true(sent <= 5, `${sent} requests of 512 KiB were taken by a handler that read one`);
  go();
  t.is((await all).status.code, status.OK);
  t.is(read, count);
});

test("duplex call - a cancel ends the requests one way or the other, and aborts the signal", async (t) => {
  let context: CallContext | undefined;
  let ended = false;
  const { address } = await createRpcServer(
    t,
    duplex(async function* (requests, callContext) {
      context = callContext;
      // What ends them may look like a half-close.
      try {
        for await (const bytes of requests) yield bytes;
      } finally {
        ended = true;
        await untilAborted(callContext.signal);
      }
    }),
  );
  const call = createRawClient(t, address).duplex(path);
  call.on("error", () => {});
  call.write(request);
  await new Promise((resolve) => call.once("data", resolve));
  call.cancel();
  await waitUntil(() => ended && context!.signal.aborted, "the requests ended and the signal is aborted");
  t.pass();
});

test("drain - streaming calls are told, unary ones are waited for, new ones are refused", async (t) => {
  let finish = (_bytes: Uint8Array) => {};
  const { server, address } = await createRpcServer(t, {
    ...unary(() => new Promise((resolve) => (finish = resolve))),
    "/test.Service/Tail": {
      kind: "serverStream",
      async *handle(_request, { signal }) {
        yield request;
        await untilAborted(signal);
        throw signal.reason;
      },
    },
  });
  const client = createRawClient(t, address);
  const tail = client.serverStream("/test.Service/Tail", request);
  const all = readAll(tail);
  await new Promise((resolve) => tail.once("data", resolve));
  const pending = client.unary(path, request);
  const started = finish;
  await waitUntil(() => finish !== started, "the unary call is under way");
  const drained = server.drain(10_000);
  const { responses, status: end } = await all;
  t.is(end.code, status.UNAVAILABLE);
  t.is(responses.length, 1);
  const refused = await throwsStatus(t, createRawClient(t, address).unary(path, request));
  t.is(refused.code, status.UNAVAILABLE);
  finish(Buffer.from("answer"));
  t.is((await pending).toString(), "answer");
  t.true(await drained);
});

test("drain - what does not end within the grace period is cut off", async (t) => {
  let running = false;
  const { server, address } = await createRpcServer(
    t,
    unary(() => {
      running = true;
      return new Promise(() => {});
    }),
  );
  const pending = createRawClient(t, address).unary(path, request);
  const failed = t.throwsAsync(pending);
  await waitUntil(() => running, "the call is under way");
  t.false(await server.drain(50));
  const error = (await failed) as ServiceError;
  t.true(error.code === status.CANCELLED || error.code === status.UNAVAILABLE);
});

test("listen - a port that is taken is told as such", async (t) => {
  const { address } = await createRpcServer(t, {});
  const { server } = await createRpcServer(t, {});
  const error = await t.throwsAsync(server.listen(address), { instanceOf: VaultError });
  t.is(error.kind, "unavailable");
  t.regex(error.message, /another process listens there/);
});

for (const address of ["", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:abc", ":80"]) {
  test(`listen - '${address}' is refused as an address`, async (t) => {
    const { server } = await createRpcServer(t, {});
    const error = await t.throwsAsync(server.listen(address), { instanceOf: VaultError });
    t.is(error.kind, "invalid");
  });
}

test("listen - a certificate that is none is refused", async (t) => {
  const tls = { certificate: Buffer.from("no"), key: Buffer.from("no") };
  const error = await t.throwsAsync(createRpcServer(t, {}, { tls }), { instanceOf: VaultError });
  t.is(error.kind, "invalid");
});

test("server streaming - a response in pieces arrives as one message", async (t) => {
  const pieces = [Buffer.from("one "), Buffer.from("two "), Buffer.from("three")];
  const { address } = await createRpcServer(
    t,
    serverStream(async function* () {
      const copy = (target: Uint8Array, at: number) => target.set(Buffer.concat(pieces), at);
      yield { byteLength: Buffer.concat(pieces).length, copy };
    }),
  );
  const { responses } = await readAll(createRawClient(t, address).serverStream(path, request));
  t.deepEqual(responses, [Buffer.from("one two three")]);
});
