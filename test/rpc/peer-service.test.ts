import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import test from "ava";
import { PeerService, WatchRequestSchema, WatchResponseSchema } from "../../gen/messagevault/peer/v1/peer_pb.ts";
import type { WatchResponse } from "../../gen/messagevault/peer/v1/peer_pb.ts";
import { isKind, VaultError } from "../../src/errors.ts";
import { methodPath } from "../../src/rpc/handlers.ts";
import { createMembers, watchersMax } from "../../src/rpc/members.ts";
import { createPeerHandlers, streamEndsMax } from "../../src/rpc/peer-service.ts";
import type { StreamEnd } from "../../src/stream/stream-end.ts";
import { createContext } from "../support/call-handler.ts";
import { createClock } from "../support/create-clock.ts";
import { createClusterView } from "../support/create-cluster-view.ts";

const heartbeatMs = 500;

function endOf(stream: string, nextOffset = 1n): StreamEnd {
  const place = { startOffset: 0n, segmentFirstOffset: 0n, position: 4096, deleted: false };
  return { stream, incarnation: "ab", nextOffset, timestamp: 1_700_000_000_123, ...place };
}

/** A leader of epoch 5. */
function createLeader() {
  const clock = createClock();
  const view = createClusterView("a");
  view.lead({ nodeId: "a", endpoint: "a:50051", epoch: 5 });
  const members = createMembers(clock);
  const batches: (readonly StreamEnd[])[] = [];
  const pulls = { count: 0, open: 0 };
  let wake: (() => void) | undefined;
  const streamEnds = {
    async *follow(signal: AbortSignal) {
      pulls.open++;
      signal.addEventListener("abort", () => wake?.(), { once: true });
      while (!signal.aborted) {
        pulls.count++;
        while (batches.length === 0 && !signal.aborted) await new Promise<void>((resolve) => (wake = resolve));
        const batch = batches.shift();
        if (batch !== undefined) yield batch;
      }
      pulls.open--;
    },
  };
  const tell = (batch: readonly StreamEnd[]) => {
    batches.push(batch);
    wake?.();
  };
  const handlers = createPeerHandlers({ cluster: view, clock, heartbeatMs, members, streamEnds });

  function watch(id = "b", watcher: MessageInitShape<typeof WatchRequestSchema>["watcher"] = member(id)) {
    const handler = handlers[methodPath(PeerService.method.watch)];
    if (handler?.kind !== "serverStream") throw new Error("not a server stream");
    const call = new AbortController();
    const request = Buffer.from(toBinary(WatchRequestSchema, create(WatchRequestSchema, { watcher })));
    const responses: WatchResponse[] = [];
    const ended = (async () => {
      for await (const bytes of handler.handle(request, createContext({ signal: call.signal }))) {
        responses.push(fromBinary(WatchResponseSchema, bytes as Buffer));
      }
    })().then(
      () => undefined,
      (error: unknown) => error,
    );
    return { responses, ended, abort: (reason?: unknown) => call.abort(reason) };
  }
  return { clock, view, members, tell, pulls, watch };
}

function member(id: string) {
  return { id, endpoint: `${id}:50051`, version: "2.0.0" };
}

test("peer service - the first response comes at once and tells who leads and who watches; then heartbeats", async (t) => {
  const { clock, watch } = createLeader();
  const { responses } = watch();
  await clock.settle();
  t.is(responses.length, 1);
  t.like(responses[0], { epoch: 5n, leader: { id: "a", endpoint: "a:50051", version: "1.2.3" } });
  t.deepEqual(
    responses[0]?.watchers?.members.map(({ id, version }) => [id, version]),
    [["b", "2.0.0"]],
  );
  await clock.advance(5 * heartbeatMs);
  t.is(responses.length, 6);
  for (const heartbeat of responses.slice(1)) {
    t.is(heartbeat.epoch, 5n);
    t.is(heartbeat.leader, undefined);
    t.is(heartbeat.watchers, undefined);
    t.deepEqual(heartbeat.streamEnds, []);
  }
});

test("peer service - all watchers hear who comes and goes, and one that comes again keeps its place", async (t) => {
  const { clock, watch, members } = createLeader();
  const first = watch("b");
  await clock.settle();
  const second = watch("c");
  await clock.settle();
  t.deepEqual(
    first.responses.at(-1)?.watchers?.members.map(({ id }) => id),
    ["b", "c"],
  );
  const again = watch("b");
  await clock.settle();
  first.abort();
  await first.ended;
  t.deepEqual(
    members.list.map(({ id }) => id),
    ["b", "c"],
  );
  again.abort();
  await again.ended;
  await clock.settle();
  t.deepEqual(
    second.responses.at(-1)?.watchers?.members.map(({ id }) => id),
    ["c"],
  );
});

test("peer service - watchers are bounded", async (t) => {
  const { clock, watch, members } = createLeader();
  for (let i = 0; i < watchersMax; i++) watch(`n${i}`);
  await clock.settle();
  t.is(members.list.length, watchersMax);
  t.true(isKind(await watch("another").ended, "overloaded"));
});

test("peer service - stream ends are told at once, but no more often than every few milliseconds", async (t) => {
  const { clock, watch, tell } = createLeader();
  const { responses } = watch();
  await clock.settle();
  tell([endOf("s", 1n)]);
  await clock.settle();
  t.is(responses.length, 2);
  t.like(responses[1]?.streamEnds[0], { stream: "s", nextOffset: 1n, position: 4096n });
  for (let i = 2n; i < 102n; i++) {
    tell([endOf("s", i)]);
    await clock.advance(1);
  }
  t.true(responses.length <= 2 + 21, `${responses.length}`);
});

test("peer service - many ends are told in pieces, with nothing missing", async (t) => {
  const { clock, watch, tell } = createLeader();
  const { responses } = watch();
  await clock.settle();
  const count = 2 * streamEndsMax + 1;
  tell(Array.from({ length: count }, (_, i) => endOf(`s${i}`)));
  await clock.settle();
  t.deepEqual(
    responses.slice(1).map(({ streamEnds }) => streamEnds.length),
    [streamEndsMax, streamEndsMax, 1],
  );
  t.is(new Set(responses.flatMap(({ streamEnds }) => streamEnds.map(({ stream }) => stream))).size, count);
});

test("peer service - a leader that resigns says so last, with the successor", async (t) => {
  const { clock, view, watch, members } = createLeader();
  const { responses, ended } = watch();
  await clock.advance(100);
  view.lead(undefined, { epoch: 5, successor: "b" });
  t.is(await ended, undefined);
  t.like(responses.at(-1), { epoch: 5n, resignation: { successorId: "b" } });
  t.is(members.list.length, 0);
});

test("peer service - a leader that was deposed says that it leads no more, and resigns nothing", async (t) => {
  const { clock, view, watch } = createLeader();
  const { responses, ended } = watch();
  await clock.advance(100);
  view.lead(undefined, { epoch: 3, successor: "b" });
  t.is(await ended, undefined);
  t.is(responses.at(-1)?.epoch, 0n);
  t.is(responses.at(-1)?.resignation, undefined);
});

test("peer service - a leader that claims a higher epoch goes on under it", async (t) => {
  const { clock, view, watch } = createLeader();
  const { responses } = watch();
  await clock.settle();
  view.lead({ nodeId: "a", endpoint: "a:50051", epoch: 9 });
  await clock.advance(heartbeatMs);
  t.is(responses.at(-1)?.epoch, 9n);
});

test("peer service - a node that does not lead says so once, and who it is", async (t) => {
  const { view, watch } = createLeader();
  view.lead({ nodeId: "z", endpoint: "z:50051", epoch: 6 });
  const { responses, ended } = watch();
  t.is(await ended, undefined);
  t.is(responses.length, 1);
  t.like(responses[0], { epoch: 0n, leader: { id: "a" } });
});

test("peer service - a watch that ends leaves nothing behind", async (t) => {
  const { clock, watch, members, pulls } = createLeader();
  const reason = new VaultError("unavailable", "this node shuts down");
  const { ended, abort } = watch();
  await clock.settle();
  t.is(pulls.open, 1);
  abort(reason);
  t.is(await ended, reason);
  await clock.settle();
  t.is(members.list.length, 0);
  t.is(pulls.open, 0);
  t.is(clock.timers, 0);
});

for (const [what, watcher] of [
  ["no id", { id: "", endpoint: "b:1", version: "" }],
  ["a bad endpoint", { id: "b", endpoint: "b", version: "" }],
  ["a text without end", { id: "b", endpoint: "b:1", version: "x".repeat(301) }],
] as const) {
  test(`peer service - a watcher with ${what} is refused`, async (t) => {
    const { watch, members } = createLeader();
    t.true(isKind(await watch("b", watcher).ended, "invalid"));
    t.is(members.list.length, 0);
  });
}
