import { constants } from "node:http2";
import test from "ava";
import type { HandlerTable } from "../../src/rpc/handlers.ts";
import { createRawClient, createRpcServer, createStalledCall, readAll } from "../support/create-rpc-server.ts";
import { waitUntil, waitUntilStill } from "../support/wait-until.ts";

const path = "/test.Service/Call";
const request = Buffer.from("request");
const responseBytes = 64 * 1024;
const unsentBytesMax = 1024 * 1024;
const calls = 30;

/** Each call gets `responses` responses. */
function createHandlers(responses: number): { handlers: HandlerTable; made: () => number } {
  let made = 0;
  const handlers: HandlerTable = {
    [path]: {
      kind: "serverStream",
      async *handle() {
        for (let i = 0; i < responses; i++) {
          made++;
          yield Buffer.alloc(responseBytes);
        }
      },
    },
  };
  return { handlers, made: () => made };
}

test("responses - those of all calls together are bounded, and go on when clients take them", async (t) => {
  const { handlers, made } = createHandlers(50);
  const { address } = await createRpcServer(t, handlers, { unsentBytesMax });
  const stalled = Array.from({ length: calls }, () => createStalledCall(t, address, path, request));
  const still = await waitUntilStill(made, calls, "the handlers");
  // Each call has one response in hand, and 64 KiB are with its client.
  t.true(still <= unsentBytesMax / responseBytes + 1 + 2 * calls, `${still} responses were made for nobody`);
  const ends = stalled.map((call) => new Promise((resolve) => call.resume().once("end", resolve)));
  await Promise.all(ends);
  t.is(made(), 50 * calls);
});

test("responses - a client that stands still is cut off where others wait for its room", async (t) => {
  const { handlers, made } = createHandlers(50);
  const { address } = await createRpcServer(t, handlers, { unsentBytesMax, stalledMs: 200 });
  const stalled = Array.from({ length: calls }, () => createStalledCall(t, address, path, request));
  await waitUntil(() => made() >= calls, "all of them are under way");
  const { responses, status } = await readAll(createRawClient(t, address).serverStream(path, request));
  t.is(status.code, 0);
  t.is(responses.length, 50);
  await waitUntil(() => stalled.some((call) => call.rstCode === constants.NGHTTP2_ENHANCE_YOUR_CALM), "one is cut off");
});

test("responses - clients that stand still are left alone while there is room", async (t) => {
  const { handlers, made } = createHandlers(50);
  const { address } = await createRpcServer(t, handlers, { unsentBytesMax, stalledMs: 100 });
  const stalled = createStalledCall(t, address, path, request);
  await waitUntilStill(made, 1, "the handler");
  const { responses } = await readAll(createRawClient(t, address).serverStream(path, request));
  t.is(responses.length, 50);
  t.false(stalled.closed);
});
