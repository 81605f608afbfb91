import test from "ava";
import { defects } from "./defects.ts";
import { defectSeedsMax, findDefect } from "./find-defect.ts";

// These take more than a hundred seeds, or one more wait for progress: minutes each.
const rare: ReadonlySet<string> = new Set([
  "a subscription's status names what was read, not what was sent",
  "the end is read before the fence is raised",
  "the fence is raised without changing the version",
  "what is torn behind the end is not cleared",
  "segments are deleted before the start has moved in the metadata",
  "a refusal rests on what a deposed leader remembers",
  "the budget of pending bytes is not given back after a failure",
  "no check after the create",
  "a stream that is being closed is opened again",
  "a stream is made by one request",
]);

const all = process.env["MESSAGE_VAULT_TEST_DEFECTS"] === "all";

for (const defect of defects) {
  const title = `defects - ${defect.name} - is found within ${defectSeedsMax} seeds`;
  const run = !all && rare.has(defect.name) ? test.skip : test.serial;
  run(title, async (t) => {
    t.timeout(60 * 60_000);
    const found = await findDefect(defect, 2);
    t.not(found, undefined);
    t.log(`seed ${found?.seed}: ${found?.what}`);
  });
}
