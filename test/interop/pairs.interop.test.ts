import test from "ava";
import { languages, provideExample } from "../../scripts/examples.ts";
import { runInterop } from "../support/run-interop.ts";

const rounds = Number(process.env["MESSAGE_VAULT_TEST_INTEROP_ROUNDS"] ?? "1");

for (let round = 1; round <= rounds; round++) {
  test.serial(
    `interop - each publisher with each subscriber, through a kill, a rolling restart and a freeze (${round})`,
    async (t) => {
      t.timeout(300_000);
      const provided = await Promise.all(languages.map(provideExample));
      const examples = provided.filter((example) => example !== undefined);
      const { recordCounts, pairs, faults } = await runInterop(t, examples, round);
      t.log(`${pairs.length} pairs; records: ${JSON.stringify(recordCounts)}`);
      t.deepEqual(faults, []);
      t.is(pairs.length, examples.length ** 2);
    },
  );
}
