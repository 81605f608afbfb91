import test from "ava";
import { Gate } from "../../src/stream/gate.ts";
import { SharedRun } from "../../src/stream/shared-run.ts";

const turn = () => new Promise((resolve) => void setImmediate(resolve));

test("shared run - who asks while one is under way gets the next one's outcome, all of them the same", async (t) => {
  const runs: PromiseWithResolvers<void>[] = [];
  const shared = new SharedRun(() => {
    const run = Promise.withResolvers<void>();
    runs.push(run);
    return run.promise;
  });
  const first = shared.ask();
  const late = [shared.ask(), shared.ask(), shared.ask()];
  t.is(runs.length, 1);
  runs[0]!.reject(new Error("the first fails"));
  await t.throwsAsync(first);
  await turn();
  t.is(runs.length, 2);
  const later = shared.ask();
  runs[1]!.resolve();
  await Promise.all(late);
  await turn();
  t.is(runs.length, 3);
  runs[2]!.resolve();
  await later;
  void shared.ask();
  t.is(runs.length, 4, "nothing is under way: it begins at once");
  runs[3]!.resolve();
});

test("gate - so many go on at once, the others in the order in which they came", async (t) => {
  const gate = new Gate(2);
  const begun: number[] = [];
  const ends = Array.from({ length: 5 }, () => Promise.withResolvers<void>());
  const all = ends.map((end, i) =>
    gate.run(() => {
      begun.push(i);
      return end.promise;
    }),
  );
  await turn();
  t.deepEqual(begun, [0, 1]);
  ends[1]!.reject(new Error("one fails"));
  await t.throwsAsync(all[1]!);
  await turn();
  t.deepEqual(begun, [0, 1, 2]);
  for (const end of ends) end.resolve();
  await Promise.allSettled(all);
  t.deepEqual(begun, [0, 1, 2, 3, 4]);
});
