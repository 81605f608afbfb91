import test from "ava";

import type { Control } from "../../src/leader/control.ts";
import { causeOfVacancy, countSilences, judgeLeader } from "../../src/leader/grounds.ts";
import type { FailoverCause } from "../../src/leader/leader.ts";

const minute = 60_000;

function createControl(ageMs: number, silences = 0, claimant: Control["claimant"] = { nodeId: "a", endpoint: "a:1" }) {
  const since = Date.UTC(2026, 0, 1);
  const failover = { cause: "first" as const, gapMs: undefined };
  const breaks = { breaks: 0, brokenAt: 0 };
  const date = since + ageMs;
  return { etag: "1", leased: true, epoch: 7, claimant, since, failover, silences, ...breaks, date, skewMs: 0 };
}

test("grounds - a leader that nothing is known against is left alone", (t) => {
  t.deepEqual(judgeLeader(createControl(0), { kind: "none" }), { waitMs: undefined });
});

test("grounds - one that is gone or has resigned is replaced at once, however young", (t) => {
  t.deepEqual(judgeLeader(createControl(0, 9), { kind: "gone" }), { cause: "gone" });
  t.deepEqual(judgeLeader(createControl(0, 9), { kind: "resigned", successor: undefined }), { cause: "resigned" });
});

const ages: [number, number][] = [
  [0, 15_000],
  [1, 30_000],
  [2, minute],
  [3, 2 * minute],
  [4, 4 * minute],
  [5, 8 * minute],
  [6, 10 * minute],
  [60, 10 * minute],
];

for (const [silences, ageMs] of ages) {
  test(`grounds - one that is silent is replaced at the age of ${ageMs / 1000} s after ${silences} silences`, (t) => {
    t.deepEqual(judgeLeader(createControl(ageMs, silences), { kind: "silent" }), { cause: "silent" });
    t.deepEqual(judgeLeader(createControl(ageMs - 1, silences), { kind: "silent" }), { waitMs: 1 });
    t.deepEqual(judgeLeader(createControl(0, silences), { kind: "silent" }), { waitMs: ageMs });
  });
}

test("grounds - silences in a row are counted, over leaders that were gone too", (t) => {
  t.is(countSilences(createControl(15_000, 0), "silent"), 1);
  t.is(countSilences(createControl(10 * minute, 4), "silent"), 5);
  t.is(countSilences(createControl(1000, 4), "gone"), 4);
});

test("grounds - silences are counted anew behind a leader that led for long, or any other change", (t) => {
  t.is(countSilences(createControl(10 * minute + 1, 4), "silent"), 1);
  t.is(countSilences(createControl(10 * minute + 1, 4), "gone"), 0);
  for (const cause of ["first", "resigned", "expired"] satisfies FailoverCause[]) {
    t.is(countSilences(createControl(1000, 4), cause), 0, cause);
  }
});

test("grounds - where nobody holds the lease the cause is what was heard of the leader, else that it ran out", (t) => {
  t.is(causeOfVacancy({ ...createControl(0), claimant: undefined }, { kind: "none" }), "first");
  t.is(causeOfVacancy(createControl(0), { kind: "none" }), "expired");
  t.is(causeOfVacancy(createControl(0), { kind: "silent" }), "expired");
  t.is(causeOfVacancy(createControl(0), { kind: "gone" }), "gone");
  t.is(causeOfVacancy(createControl(0), { kind: "resigned", successor: "b" }), "resigned");
});
