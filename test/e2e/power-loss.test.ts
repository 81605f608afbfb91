/** The power fails at any moment, and takes with it what was not synced: nothing that was acknowledged is missing. */
import test from "ava";
import { survivePowerLosses } from "../support/survive-power-losses.ts";

for (let seed = 1; seed <= 12; seed++) {
  test.serial(`power loss - the whole vault keeps what it acknowledged (seed ${seed})`, async (t) => {
    t.timeout(60_000);
    await survivePowerLosses(t, seed);
  });
}
