import test from "ava";

import { VaultError, isKind } from "../../src/errors.ts";
import { controlName } from "../../src/leader/control.ts";
import type { Election, ElectionState } from "../../src/leader/election.ts";
import { createMemoryStore } from "../../src/blob/memory.ts";
import { createClock } from "../support/create-clock.ts";
import { controlCalls, createCluster, unreachable } from "../support/create-cluster.ts";
import type { Cluster, ClusterNode } from "../support/create-cluster.ts";

const lostAnswer = async (forward: () => Promise<unknown>) => {
  await forward();
  throw new VaultError("indeterminate", "the answer was lost");
};

function cutOff({ faults }: ClusterNode): void {
  for (const call of controlCalls) faults.set(call, unreachable);
}

async function untilLeads(cluster: Cluster, election: Election, limitMs = 60_000): Promise<number> {
  return cluster.clock.advanceUntil(() => election.role === "leader", limitMs);
}

test("election - a single node leads at once under epoch 1", async (t) => {
  const cluster = createCluster(t);
  const { election } = await cluster.start("a");

  t.is(await untilLeads(cluster, election), 0);
  const failover = { cause: "first", gapMs: undefined } as const;
  t.deepEqual(election.leader, { nodeId: "a", endpoint: "a:50051", epoch: 1, since: cluster.clock.now(), failover });
  t.is(election.epoch, 1);
  t.is(election.fence().epoch, 1);
  t.notThrows(() => election.fence().assertHeld());
});

test("election - a leader goes on for as long as it renews", async (t) => {
  const cluster = createCluster(t);
  const a = await cluster.start("a");
  await untilLeads(cluster, a.election);
  const fence = a.election.fence();
  const b = await cluster.start("b");

  await cluster.clock.advance(10 * 60_000);

  t.is(a.election.role, "leader");
  t.is(a.election.epoch, 1);
  t.notThrows(() => fence.assertHeld());
  t.deepEqual(b.election.leader, a.election.leader);
  t.is(b.election.role, "standby");
});

test("election - a standby's fence is unavailable and names the leader", async (t) => {
  const cluster = createCluster(t);
  const a = await cluster.start("a");
  await untilLeads(cluster, a.election);
  const b = await cluster.start("b");
  await cluster.clock.settle();

  const error = t.throws(() => b.election.fence(), { instanceOf: VaultError });

  t.is(error.kind, "unavailable");
  t.is(error.detail.leader, "a:50051");
  t.true((error.detail.retryAfterMs ?? 0) > 0);
});

test("election - a second node takes over once the lease of a silent leader has run out", async (t) => {
  const cluster = createCluster(t);
  const a = await cluster.start("a");
  await untilLeads(cluster, a.election);
  const fence = a.election.fence();
  cluster.network.cut("a");
  const b = await cluster.start("b");
  cutOff(a);

  const waitedMs = await untilLeads(cluster, b.election);

  t.true(waitedMs >= 15_000 && waitedMs <= 20_000, `${waitedMs} ms`);
  t.is(b.election.epoch, 2);
  t.is(b.election.fence().epoch, 2);
  t.true(
    isKind(
      t.throws(() => fence.assertHeld()),
      "fenced",
    ),
  );
  t.true(fence.ended.aborted);
  t.is((await cluster.store.properties(controlName))?.metadata["breaks"], "0");
});

test("election - a refused connection to the leader breaks its lease at once", async (t) => {
  const cluster = createCluster(t);
  const a = await cluster.start("a");
  await untilLeads(cluster, a.election);
  const fence = a.election.fence();
  cluster.network.refuse("a");

  const b = await cluster.start("b");

  t.is(await untilLeads(cluster, b.election), 0);
  t.is(b.election.epoch, 2);
  const metadata = (await cluster.store.properties(controlName))?.metadata;
  t.is(metadata?.["breaks"], "1");
  t.is(metadata?.["brokenat"], String(cluster.clock.now()));
  await cluster.clock.advance(5000);
  t.true(
    isKind(
      t.throws(() => fence.assertHeld()),
      "fenced",
    ),
  );
  t.is(a.election.role, "standby");
});

test("election - nodes that refuse each other's connections do not depose each other for ever", async (t) => {
  const cluster = createCluster(t);
  for (const name of ["a", "b"]) cluster.network.refuse(name);
  const a = await cluster.start("a");
  await untilLeads(cluster, a.election);
  const b = await cluster.start("b");

  await cluster.clock.advance(9 * 60_000);

  t.is(b.election.role, "leader");
  t.is(b.election.epoch, 2);
  t.is(a.election.role, "standby");
});

test("election - a node that starts at a dead leader's address takes over at once, and only then", async (t) => {
  const cluster = createCluster(t);
  const endpoint = "same:50051";
  const a = await cluster.start("a", { endpoint });
  await untilLeads(cluster, a.election);
  const b = await cluster.start("b", { endpoint });
  t.is(await untilLeads(cluster, b.election), 0);

  await cluster.clock.advance(60 * 60_000);

  t.is(b.election.role, "leader");
  t.is(b.election.epoch, 2);
});

for (const seed of [1, 2, 3, 4, 5]) {
  test(`election - of three candidates at once one leads, and keeps leading (seed ${seed})`, async (t) => {
    const cluster = createCluster(t, seed);
    const nodes = await Promise.all(["a", "b", "c"].map((name) => cluster.start(name)));
    for (const { faults } of nodes) {
      for (const call of ["properties", "setMetadata", "acquireLease"] as const) {
        faults.set(call, (forward) => delayed(cluster, forward));
      }
    }

    await cluster.clock.advance(30_000);
    const leading = nodes.filter(({ election }) => election.role === "leader");
    t.is(leading.length, 1);
    const epoch = leading[0]?.election.epoch;
    await cluster.clock.advance(10 * 60_000);

    t.is(leading[0]?.election.role, "leader");
    t.is(leading[0]?.election.epoch, epoch);
    t.is((await cluster.store.properties(controlName))?.metadata["epoch"], String(epoch));
  });
}

// To storage and back takes up to 50 ms each way.
async function delayed(cluster: Cluster, forward: () => Promise<unknown>): Promise<unknown> {
  const wait = () => new Promise<void>((resolve) => void cluster.clock.timer(50 * cluster.clock.random(), resolve));
  await wait();
  try {
    return await forward();
  } finally {
    await wait();
  }
}

test("election - a claim by another between claim and lease is answered by a claim under the lease", async (t) => {
  const cluster = createCluster(t);
  const { election, faults } = await cluster.start("a", { clock: cluster.clock });
  faults.set("acquireLease", async (forward) => {
    const found = await cluster.store.properties(controlName);
    const other = { ...found?.metadata, epoch: "2", node: "b", endpoint: "b:50051" };
    await cluster.store.setMetadata(controlName, other, found?.etag ?? "");
    return forward();
  });

  await untilLeads(cluster, election);

  t.is(election.epoch, 3);
  const metadata = (await cluster.store.properties(controlName))?.metadata;
  t.is(metadata?.["epoch"], "3");
  t.is(metadata?.["node"], "a");
});

test("election - a claim whose answer was lost is read back and used", async (t) => {
  const cluster = createCluster(t);
  const { election, faults } = await cluster.start("a");
  faults.set("setMetadata", lostAnswer);

  t.is(await untilLeads(cluster, election), 0);
  t.is(election.epoch, 1);
  t.is(faults.calls.get("setMetadata"), 1);
});

test("election - a claim that was lost on its way is made again", async (t) => {
  const cluster = createCluster(t);
  const { election, faults } = await cluster.start("a");
  faults.set("setMetadata", () => {
    faults.set("setMetadata", undefined);
    return Promise.reject(new VaultError("indeterminate", "the request was lost"));
  });

  await untilLeads(cluster, election, 1000);
  t.is(election.epoch, 1);
});

test("election - an acquire whose answer was lost is sent again under the same id", async (t) => {
  const cluster = createCluster(t);
  const { election, faults } = await cluster.start("a");
  const ids: unknown[] = [];
  faults.set("acquireLease", (forward, args) => {
    ids.push(args[1]);
    return ids.length < 3 ? lostAnswer(forward) : forward();
  });

  await untilLeads(cluster, election, 2000);
  t.is(ids.length, 3);
  t.is(new Set(ids).size, 1);
});

for (const name of ["fail", "hang"]) {
  test(`election - a leader whose renewals ${name} stops by itself before the lease ends`, async (t) => {
    const cluster = createCluster(t);
    const { election, faults } = await cluster.start("a");
    const hanging = Promise.withResolvers<unknown>();
    hanging.promise.catch(() => undefined);
    t.teardown(() => hanging.reject(new VaultError("indeterminate", "the test is over")));
    const fault = name === "fail" ? unreachable : () => hanging.promise;
    await untilLeads(cluster, election);
    const fence = election.fence();
    await cluster.clock.advance(5000);
    const renewedAt = cluster.clock.monotonic();
    for (const call of controlCalls) faults.set(call, fault);

    await cluster.clock.advance(14_999);
    t.notThrows(() => fence.assertHeld());
    t.is(election.role, "leader");
    await cluster.clock.advance(1);

    t.is(cluster.clock.monotonic() - renewedAt, 15_000);
    t.true(
      isKind(
        t.throws(() => fence.assertHeld()),
        "fenced",
      ),
    );
    t.is(election.role, "standby");
    t.true(
      isKind(
        t.throws(() => election.fence()),
        "unavailable",
      ),
    );
  });
}

test("election - the lease is reckoned from before the renewal was sent", async (t) => {
  const cluster = createCluster(t);
  const { election, faults } = await cluster.start("a");
  await untilLeads(cluster, election);
  const fence = election.fence();
  faults.set("renewLease", async (forward) => {
    faults.set("renewLease", unreachable);
    const answer = await forward();
    await new Promise<void>((resolve) => void cluster.clock.timer(4000, resolve));
    return answer;
  });

  await cluster.clock.advance(5000 + 14_999);
  t.notThrows(() => fence.assertHeld());
  await cluster.clock.advance(1);
  t.throws(() => fence.assertHeld());
});

test("election - a fence whose lease ran out does not hold again though a late renewal succeeds", async (t) => {
  const cluster = createCluster(t);
  const { election, faults } = await cluster.start("a");
  await untilLeads(cluster, election);
  const fence = election.fence();
  faults.set("renewLease", async (forward) => {
    await new Promise<void>((resolve) => void cluster.clock.timer(10_001, resolve));
    return forward();
  });

  await cluster.clock.advance(20_000);

  t.throws(() => fence.assertHeld());
  t.true(election.epoch !== 1);
});

test("election - renewals that fail for a while do not end the term", async (t) => {
  const cluster = createCluster(t);
  const { election, faults } = await cluster.start("a");
  await untilLeads(cluster, election);
  faults.set("renewLease", unreachable);
  await cluster.clock.advance(14_000);
  faults.set("renewLease", undefined);

  await cluster.clock.advance(60_000);

  t.is(election.role, "leader");
  t.is(election.epoch, 1);
});

test("election - closing gives the lease back, so that another need not wait", async (t) => {
  const cluster = createCluster(t);
  const a = await cluster.start("a");
  await untilLeads(cluster, a.election);
  const b = await cluster.start("b");
  const fence = a.election.fence();

  await a.election.close();

  t.false((await cluster.store.properties(controlName))?.leased);
  t.true(
    isKind(
      t.throws(() => fence.assertHeld()),
      "fenced",
    ),
  );
  const waitedMs = await untilLeads(cluster, b.election);
  t.true(waitedMs <= 5000, `${waitedMs} ms`);
  t.is(b.election.epoch, 2);
});

test("election - stepping down ends the fence at once and lets another lead", async (t) => {
  const cluster = createCluster(t);
  const a = await cluster.start("a");
  await untilLeads(cluster, a.election);
  const fence = a.election.fence();

  void a.election.resign("a test wants it");

  t.true(
    isKind(
      t.throws(() => fence.assertHeld()),
      "fenced",
    ),
  );
  t.regex(String(fence.ended.reason), /a test wants it/);
  await cluster.clock.settle();
  const b = await cluster.start("b");
  t.is(await untilLeads(cluster, b.election), 0);
  t.is(b.election.epoch, 2);
});

for (const [name, aheadMs] of Object.entries({ behind: -6001, "ahead of": 8000 })) {
  test(`election - a node whose clock is ${name} storage's does not lead, and says why`, async (t) => {
    const cluster = createCluster(t);
    const { election } = await cluster.start("a", { clock: cluster.clock.ahead(aheadMs) });

    await cluster.clock.advance(60_000);

    t.is(election.role, "standby");
    const error = t.throws(() => election.fence(), { instanceOf: VaultError });
    t.regex(error.message, new RegExp(`${name} storage's: set the clock`));
  });
}

test("election - a clock a little off does not matter", async (t) => {
  const cluster = createCluster(t);
  const { election } = await cluster.start("a", { clock: cluster.clock.ahead(4900) });
  t.is(await untilLeads(cluster, election), 0);
});

test("election - a leader whose clock jumps stops", async (t) => {
  const cluster = createCluster(t);
  let jumpMs = 0;
  const { clock } = cluster;
  const { election } = await cluster.start("a", { clock: { ...clock, now: () => clock.now() + jumpMs } });
  await untilLeads(cluster, election);
  jumpMs = 3_600_000;

  await clock.advance(5000);

  t.is(election.role, "standby");
  t.false((await cluster.store.properties(controlName))?.leased);
});

test("election - claiming above a number ends the fence so far and begins one above it", async (t) => {
  const cluster = createCluster(t);
  const { election } = await cluster.start("a");
  await untilLeads(cluster, election);
  const before = election.fence();

  await Promise.all([election.claimAbove(7), election.claimAbove(5), election.claimAbove(7)]);

  t.is(election.epoch, 8);
  t.is(election.fence().epoch, 8);
  t.true(
    isKind(
      t.throws(() => before.assertHeld()),
      "fenced",
    ),
  );
  await cluster.clock.advance(60_000);
  t.notThrows(() => election.fence().assertHeld());
  t.is((await cluster.store.properties(controlName))?.metadata["epoch"], "8");
});

test("election - a leader that lost its lease cannot claim above its successor", async (t) => {
  const cluster = createCluster(t);
  const a = await cluster.start("a");
  await untilLeads(cluster, a.election);
  cluster.network.refuse("a");
  const b = await cluster.start("b");
  await untilLeads(cluster, b.election);
  t.is(a.election.role, "leader");

  const error = await t.throwsAsync(a.election.claimAbove(b.election.epoch), { instanceOf: VaultError });

  t.is(error.kind, "fenced");
  t.is(a.election.role, "standby");
  t.notThrows(() => b.election.fence().assertHeld());
});

test("election - a lost control blob ends the term; the node begins again", async (t) => {
  const cluster = createCluster(t);
  const { election } = await cluster.start("a");
  await untilLeads(cluster, election);
  const fence = election.fence();
  await cluster.store.breakLease(controlName, (await cluster.store.properties(controlName))?.etag ?? "");
  await cluster.store.remove(controlName);

  await cluster.clock.advance(5000);
  t.throws(() => fence.assertHeld());
  await untilLeads(cluster, election, 2000);
  t.is(election.epoch, 1);
});

test("election - storage that is away at the start is waited for", async (t) => {
  const cluster = createCluster(t);
  const clock = cluster.clock;
  const away = new Proxy(cluster.store, {
    get: (target, name) =>
      clock.monotonic() < 20_000 && name === "properties" ? unreachable : Reflect.get(target, name),
  });
  const { election } = await cluster.start("a", { store: away });
  const waitedMs = await untilLeads(cluster, election);
  t.true(waitedMs >= 20_000 && waitedMs <= 25_000);
});

for (const kind of ["notFound", "denied", "unauthenticated"] as const) {
  test(`election - storage that answers ${kind} at the start is an error that names it`, async (t) => {
    const cluster = createCluster(t);
    const store = createMemoryStore(createClock());
    store.createControl = () => Promise.reject(new VaultError(kind, "storage says no"));
    const error = await t.throwsAsync(cluster.start("a", { store }), { instanceOf: VaultError });
    t.is(error.kind, kind);
    t.regex(error.message, /memory:.*storage says no/);
  });
}

test("election - changes tell each state in turn and end when it is closed", async (t) => {
  const cluster = createCluster(t);
  const { election } = await cluster.start("a");
  const states: ElectionState[] = [];
  const following = (async () => {
    for await (const state of election.changes(new AbortController().signal)) states.push(state);
  })();
  await untilLeads(cluster, election);
  await cluster.clock.settle();

  await election.close();
  await following;

  t.deepEqual(
    states.map(({ role, leader }) => [role, leader?.epoch]),
    [
      ["standby", undefined],
      ["leader", 1],
      ["standby", undefined],
    ],
  );
});

test("election - following ends when it is aborted", async (t) => {
  const cluster = createCluster(t);
  const { election } = await cluster.start("a");
  await untilLeads(cluster, election);
  const abort = new AbortController();
  const seen: string[] = [];
  const following = (async () => {
    for await (const state of election.changes(abort.signal)) seen.push(state.role);
  })();
  await cluster.clock.settle();
  abort.abort();
  await following;
  t.deepEqual(seen, ["leader"]);
});

test("election - a leader whose lease came back behind another's claim gives way", async (t) => {
  const cluster = createCluster(t);
  const { acquireLease } = cluster.store;
  let leaseId = "";
  cluster.store.acquireLease = (name, id, seconds) => {
    leaseId = id;
    return acquireLease(name, id, seconds);
  };
  const { election } = await cluster.start("a");
  await untilLeads(cluster, election);
  // What a standby does that was told that the leader is gone; and a late attempt of the leader's first acquire.
  const { etag, metadata } = (await cluster.store.properties(controlName))!;
  await cluster.store.breakLease(controlName, etag);
  await cluster.store.setMetadata(controlName, { ...metadata, epoch: "2", node: "b", endpoint: "b:50051" }, etag);
  await cluster.store.acquireLease(controlName, leaseId, 15);

  await cluster.clock.advance(5001);

  t.is(election.role, "standby");
  await untilLeads(cluster, election);
  t.is(election.epoch, 3);
});
