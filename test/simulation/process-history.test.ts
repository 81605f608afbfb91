import test from "ava";
import type { Attempt, History } from "../support/failover-history.ts";
import { checkHistory } from "./checks.ts";
import { decodeHistory, encodeHistory } from "./history.ts";
import { toOperations } from "./process-history.ts";

function attempt(id: number, calledAt: number, endedAt: number, outcome: Attempt["outcome"], offset?: number): Attempt {
  return { id, stream: "s", source: "p", calledAt, endedAt, outcome, offset, failure: undefined };
}

const attempts = [
  attempt(0, 0, 1, "stored", 0),
  attempt(1, 2, 9, "unknown"),
  attempt(2, 3, 4, "stored", 1),
  attempt(3, 5, 6, "refused"),
  attempt(4, 10, 11, "stored", 3),
];

function judge(given: readonly Attempt[], ids: readonly number[]): string[] {
  const history = { attempts: given, readers: [] } as unknown as History;
  const stored = [{ stream: "s", ids: [...ids], epochs: [1], staleFrames: [], faults: [], segmentCount: 1 }];
  const operations = decodeHistory(encodeHistory(toOperations(history, stored)));
  return checkHistory(operations).map(({ check }) => check);
}

test("process history - publishes and what is stored at the end - are judged as a simulation's", (t) => {
  t.deepEqual(judge(attempts, [0, 2, 1, 4]), []);
});

test("process history - what was acknowledged is not there - is found", (t) => {
  t.true(judge(attempts, [0, 2, 1]).includes("nothing vanishes"));
});

test("process history - what was acknowledged later stands before what was acknowledged first - is found", (t) => {
  const turned = [attempt(0, 0, 1, "stored", 1), attempt(1, 2, 3, "stored", 0)];
  t.deepEqual(judge(turned, [1, 0]), ["linearizability"]);
});
