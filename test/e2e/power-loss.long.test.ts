/** The power fails at any moment: as power-loss.test.ts, at many more. */
import test from "ava";
import { survivePowerLosses } from "../support/survive-power-losses.ts";

for (let seed = 101; seed <= 160; seed++) {
  test.serial(`power loss - the whole vault keeps what it acknowledged (seed ${seed})`, async (t) => {
    t.timeout(60_000);
    await survivePowerLosses(t, seed);
  });
}
