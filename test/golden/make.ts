/**
 * `node test/golden/make.ts VERSION`: makes the golden data of a version, such as v2. Done once for each version of the
 * format, before its first release; data that exist are never made anew.
 */
import type { ExecutionContext } from "ava";
import { goldenDirectory, writeGolden } from "./golden-data.ts";
import { makeGolden } from "./scenario.ts";

const [version] = process.argv.slice(2);
if (version === undefined || !/^v\d+$/.test(version)) throw new Error("say which version: node test/golden/make.ts v2");

const endings: (() => unknown)[] = [];
// All that helpers of tests want of a test here is its end.
const t = { teardown: (run: () => unknown) => void endings.push(run) } as ExecutionContext;
const { store, made } = await makeGolden(t);
await writeGolden(store, made, goldenDirectory(version));
for (const end of endings.toReversed()) await end();
