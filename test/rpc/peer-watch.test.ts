import test from "ava";
import type { ExecutionContext } from "ava";
import type { Leader } from "../../src/leader/leader.ts";
import type { ProbeResult } from "../../src/leader/probe.ts";
import { silentLog } from "../../src/log.ts";
import { createMembers } from "../../src/rpc/members.ts";
import type { HandlerTable } from "../../src/rpc/handlers.ts";
import { createPeerHandlers } from "../../src/rpc/peer-service.ts";
import { createPeerWatch } from "../../src/rpc/peer-watch.ts";
import type { StreamEnd, StreamEndSource } from "../../src/stream/stream-end.ts";
import { createCallNetwork } from "../support/create-call-network.ts";
import { createClock } from "../support/create-clock.ts";
import { createClusterView } from "../support/create-cluster-view.ts";

const settings = { peerHeartbeatMs: 500, suspicionMs: 3000 };

function leaderOf(name: string, epoch: number): Leader {
  const failover = { cause: "first", gapMs: undefined } as const;
  return { nodeId: name, endpoint: `${name}:50051`, epoch, since: 0, failover };
}

function endOf(stream: string, nextOffset: bigint): StreamEnd {
  return {
    stream,
    incarnation: "ab",
    startOffset: 0n,
    nextOffset,
    timestamp: 1_700_000_000_123,
    segmentFirstOffset: 0n,
    position: 4096,
    deleted: false,
  };
}

/** A source of stream ends that a test feeds. */
function createSource(): StreamEndSource & { tell(ends: readonly StreamEnd[]): void } {
  const told: (readonly StreamEnd[])[] = [];
  let wake: (() => void) | undefined;
  return {
    tell(ends) {
      told.push(ends);
      wake?.();
    },
    async *follow(signal) {
      signal.addEventListener("abort", () => wake?.(), { once: true });
      while (!signal.aborted) {
        const ends = told.shift();
        if (ends !== undefined) yield ends;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    },
  };
}

/** A leader `a` of epoch 5 and a node `b` that watches it. */
function createPair(t: ExecutionContext, name = "b") {
  const clock = createClock();
  const network = createCallNetwork();
  const view = createClusterView("a");
  view.lead(leaderOf("a", 5));
  const members = createMembers(clock);
  const source = createSource();
  const handlers: HandlerTable = createPeerHandlers({
    cluster: view,
    clock,
    heartbeatMs: settings.peerHeartbeatMs,
    members,
    streamEnds: source,
  });
  network.serve("a:50051", handlers);
  const probe: { result: ProbeResult; count: number } = { result: "alive", count: 0 };
  const heard: string[] = [];
  const watch = createPeerWatch({
    self: createClusterView(name),
    caller: network.caller,
    clock,
    log: silentLog,
    probe: async () => {
      probe.count++;
      return probe.result;
    },
    sink: {
      learn: (ends) => heard.push(...ends.map(({ stream, nextOffset }) => `${stream} ${nextOffset}`)),
      feedStarted: () => heard.push("started"),
      feedLost: () => heard.push("lost"),
    },
    settings,
  });
  t.teardown(() => watch.close());
  return { clock, network, view, members, source, handlers, probe, heard, watch };
}

test("peer watch - a leader that sends heartbeats is not suspected, and each is a sign of life", async (t) => {
  const { clock, watch, network } = createPair(t);
  watch.follow(leaderOf("a", 5));
  for (let i = 0; i < 20; i++) {
    await clock.advance(500);
    t.is(watch.evidence.value.kind, "none");
    t.true(clock.monotonic() - watch.heardAt! <= 500);
  }
  t.is(network.calls.length, 1);
});

test("peer watch - a leader that falls silent is suspected after the suspicion time, not before", async (t) => {
  const { clock, watch, network } = createPair(t);
  watch.follow(leaderOf("a", 5));
  await clock.advance(2000);
  network.freeze("a:50051");
  const silentSince = watch.heardAt!;
  await clock.advanceUntil(() => watch.evidence.value.kind === "silent", 10_000);
  const silentMs = clock.monotonic() - silentSince;
  t.true(silentMs >= 3000 && silentMs < 3000 + 300, `${silentMs}`);
  t.is(watch.heardAt, silentSince);
  network.thaw("a:50051");
  await clock.advance(500);
  t.is(watch.evidence.value.kind, "none");
});

test("peer watch - a leader that was never heard of is silent after the suspicion time", async (t) => {
  const { clock, watch, network } = createPair(t);
  network.freeze("a:50051");
  watch.follow(leaderOf("a", 5));
  await clock.advance(2500);
  t.is(watch.evidence.value.kind, "none");
  await clock.advance(1000);
  t.is(watch.evidence.value.kind, "silent");
  t.is(watch.heardAt, undefined);
});

test("peer watch - a node that was frozen itself hears what waits for it before it suspects anybody", async (t) => {
  const { clock, watch, network } = createPair(t);
  watch.follow(leaderOf("a", 5));
  await clock.advance(1000);
  // One timer that fires late by an hour: only the watch's own time stands still.
  network.freeze("a:50051");
  const { monotonic } = clock;
  Object.assign(clock, { monotonic: () => monotonic() + 3_600_000 });
  await clock.advance(150);
  t.is(watch.evidence.value.kind, "none");
  network.thaw("a:50051");
  await clock.advance(3000);
  t.is(watch.evidence.value.kind, "none");
});

test("peer watch - a process that is gone is known as soon as its connection breaks", async (t) => {
  const { clock, watch, network, probe } = createPair(t);
  watch.follow(leaderOf("a", 5));
  await clock.advance(1000);
  network.serve("a:50051", undefined);
  probe.result = "refused";
  network.cut("a:50051");
  await clock.settle();
  t.is(watch.evidence.value.kind, "gone");
});

test("peer watch - a broken link to a node that takes connections says nothing yet, and is made anew", async (t) => {
  const { clock, watch, network, probe } = createPair(t);
  watch.follow(leaderOf("a", 5));
  await clock.advance(1000);
  network.cut("a:50051");
  await clock.settle();
  t.is(watch.evidence.value.kind, "none");
  t.is(probe.count, 1);
  await clock.advance(200);
  t.is(network.calls.length, 2);
  t.true(clock.monotonic() - watch.heardAt! < 200);
});

test("peer watch - while nobody answers it tries again about once a second", async (t) => {
  const { clock, watch, network } = createPair(t);
  network.serve("a:50051", {});
  watch.follow(leaderOf("a", 5));
  await clock.advance(20_000);
  t.true(network.calls.length > 15 && network.calls.length < 60, `${network.calls.length}`);
});

test("peer watch - another process at the leader's address: the one that is watched is not there any more", async (t) => {
  const { clock, watch } = createPair(t);
  watch.follow(leaderOf("z", 5));
  await clock.settle();
  t.is(watch.evidence.value.kind, "none");
  watch.follow({ ...leaderOf("z", 6), endpoint: "a:50051" });
  await clock.settle();
  t.is(watch.evidence.value.kind, "silent");
});

test("peer watch - a resignation names the successor, and ends nothing else", async (t) => {
  const { clock, watch, view } = createPair(t);
  watch.follow(leaderOf("a", 5));
  await clock.advance(700);
  view.lead(undefined, { epoch: 5, successor: "b" });
  await clock.settle();
  t.deepEqual(watch.evidence.value, { kind: "resigned", successor: "b" });
  t.is(watch.heardAt, clock.monotonic());
  await clock.advance(10_000);
  t.deepEqual(watch.evidence.value, { kind: "resigned", successor: "b" });
});

test("peer watch - a leader that resigned and is then gone has resigned all the same", async (t) => {
  const { clock, watch, view, network, probe } = createPair(t);
  watch.follow(leaderOf("a", 5));
  await clock.advance(700);
  view.lead(undefined, { epoch: 5, successor: "b" });
  await clock.settle();
  network.serve("a:50051", undefined);
  probe.result = "refused";
  await clock.advance(5000);
  t.true(probe.count > 0);
  t.deepEqual(watch.evidence.value, { kind: "resigned", successor: "b" });
});

test("peer watch - who comes late still hears of the resignation of the epoch that it follows", async (t) => {
  const { clock, watch, view } = createPair(t);
  view.lead(undefined, { epoch: 5, successor: undefined });
  watch.follow(leaderOf("a", 5));
  await clock.settle();
  t.deepEqual(watch.evidence.value, { kind: "resigned", successor: undefined });
});

test("peer watch - a resignation of an earlier epoch says nothing about this one", async (t) => {
  const { clock, watch, view } = createPair(t);
  view.lead(undefined, { epoch: 4, successor: "b" });
  watch.follow(leaderOf("a", 5));
  await clock.advance(2000);
  t.is(watch.evidence.value.kind, "none");
});

test("peer watch - a leader that was deposed says so: it leads no more", async (t) => {
  const { clock, watch, view } = createPair(t);
  watch.follow(leaderOf("a", 5));
  await clock.advance(700);
  view.lead(undefined);
  await clock.settle();
  t.deepEqual(watch.evidence.value, { kind: "resigned", successor: undefined });
});

test("peer watch - a leader that does not know yet that it leads is given the suspicion time", async (t) => {
  const { clock, watch, view } = createPair(t);
  view.lead(undefined);
  watch.follow(leaderOf("a", 5));
  await clock.advance(1000);
  t.is(watch.evidence.value.kind, "none");
  view.lead(leaderOf("a", 5));
  await clock.advance(10_000);
  t.is(watch.evidence.value.kind, "none");
});

test("peer watch - a node that goes on to say that it does not lead is taken at its word", async (t) => {
  const { clock, watch, view } = createPair(t);
  view.lead(undefined);
  watch.follow(leaderOf("a", 5));
  await clock.advance(3500);
  t.deepEqual(watch.evidence.value, { kind: "resigned", successor: undefined });
});

test("peer watch - another leader begins with a clean slate, and the one before is watched no more", async (t) => {
  const { clock, watch, network, probe, members } = createPair(t);
  probe.result = "refused";
  watch.follow(leaderOf("gone", 4));
  await clock.settle();
  t.is(watch.evidence.value.kind, "gone");
  watch.follow(leaderOf("a", 5));
  t.is(watch.evidence.value.kind, "none");
  t.is(watch.heardAt, undefined);
  await clock.settle();
  t.not(watch.heardAt, undefined);
  t.is(members.list.length, 1);
  watch.follow(undefined);
  await clock.settle();
  t.is(members.list.length, 0);
  const calls = network.calls.length;
  await clock.advance(10_000);
  t.is(network.calls.length, calls);
});

test("peer watch - the same leader is watched on", async (t) => {
  const { clock, watch, network } = createPair(t);
  watch.follow(leaderOf("a", 5));
  await clock.advance(1000);
  watch.follow({ ...leaderOf("a", 5), since: 77 });
  await clock.advance(1000);
  t.is(network.calls.length, 1);
});

test("peer watch - hands on where streams end, and says when nobody tells any more", async (t) => {
  const { clock, watch, network, source, heard } = createPair(t);
  watch.follow(leaderOf("a", 5));
  await clock.settle();
  t.deepEqual(heard, ["started"]);
  source.tell([endOf("s", 7n)]);
  await clock.advance(10);
  t.deepEqual(heard, ["started", "s 7"]);
  network.cut("a:50051");
  await clock.settle();
  t.deepEqual(heard, ["started", "s 7", "lost"]);
  await clock.advance(200);
  t.deepEqual(heard, ["started", "s 7", "lost", "started"]);
  network.freeze("a:50051");
  await clock.advance(2000);
  t.is(watch.evidence.value.kind, "none");
  t.deepEqual(heard.slice(4), ["lost"]);
  network.thaw("a:50051");
  await clock.advance(500);
  t.deepEqual(heard.slice(4), ["lost", "started"]);
  watch.follow(undefined);
  t.deepEqual(heard.slice(4), ["lost", "started", "lost"]);
});

test("peer watch - knows the leader's version and who else watches", async (t) => {
  const { clock, watch, members } = createPair(t);
  watch.follow(leaderOf("a", 5));
  await clock.settle();
  t.deepEqual(watch.leader, { id: "a", endpoint: "a:50051", version: "1.2.3" });
  t.deepEqual(
    watch.watchers.map(({ id }) => id),
    ["b"],
  );
  const leave = members.add({ id: "c", endpoint: "c:50051", version: "2" });
  await clock.settle();
  t.deepEqual(
    watch.watchers.map(({ id }) => id),
    ["b", "c"],
  );
  leave();
  await clock.settle();
  t.deepEqual(
    watch.watchers.map(({ id }) => id),
    ["b"],
  );
});
