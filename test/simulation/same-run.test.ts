import test from "ava";
import { runSeeds } from "./run-pool.ts";
import { simulate } from "./simulate.ts";
import { checkoutRoot, loadSource } from "./source.ts";

test("simulation - the same seed in another process - is the same run, to the last line of its trace", async (t) => {
  t.timeout(5 * 60_000);
  const source = await loadSource(checkoutRoot);
  const elsewhere = await runSeeds({ from: 1001, count: 8, workers: 1 });
  const digests = new Set<string>();
  for (const { seed, digest } of elsewhere) {
    // In another order, so that nothing is left over from one run to the next.
    const again = await simulate(source, seed);
    t.is(again.digest, digest, `seed ${seed}`);
    digests.add(digest);
  }
  t.is(digests.size, elsewhere.length, "every seed is a run of its own");
});
