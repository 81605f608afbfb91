import test from "ava";
import { createDefectiveCopy } from "./create-defective-copy.ts";
import { defects } from "./defects.ts";
import { findDefect } from "./find-defect.ts";

test("defects - the code as it is - has every place that a defect changes", async (t) => {
  t.true(defects.length >= 18);
  t.is(new Set(defects.map(({ name }) => name)).size, defects.length);
  for (const defect of defects) {
    await t.notThrowsAsync(async () => {
      const copy = await createDefectiveCopy(defect);
      await copy.remove();
    });
  }
});

for (const name of ["acknowledged before the write", "a claim takes the epoch that is there"]) {
  test(`defects - ${name} - is found`, async (t) => {
    t.timeout(5 * 60_000);
    const defect = defects.find((candidate) => candidate.name === name)!;
    t.not(await findDefect(defect, 1, 20), undefined);
  });
}
