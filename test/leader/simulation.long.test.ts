import test from "ava";

import { simulateElection } from "../support/simulate-election.ts";

for (let seed = 100; seed < 200; seed++) {
  test.serial(`election - an hour with nodes and storage failing at random (seed ${seed})`, async (t) => {
    await simulateElection(t, seed, 60);
  });
}
