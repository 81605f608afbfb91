import test from "ava";

import { simulateElection } from "../support/simulate-election.ts";

for (const seed of [1, 2, 3]) {
  test(`election - with nodes and storage failing at random, one leads at a time (seed ${seed})`, async (t) => {
    await simulateElection(t, seed, 10);
  });
}
