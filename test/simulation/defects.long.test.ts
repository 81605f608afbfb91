import test from "ava";
import { defects } from "./defects.ts";
import { defectSeedsMax, findDefect } from "./find-defect.ts";

for (const defect of defects) {
  test.serial(`defects - ${defect.name} - is found within ${defectSeedsMax} seeds`, async (t) => {
    t.timeout(60 * 60_000);
    const found = await findDefect(defect, 2);
    t.not(found, undefined);
    t.log(`seed ${found?.seed}: ${found?.what}`);
  });
}
