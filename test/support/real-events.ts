import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import type { ExecutionContext } from "ava";

const file =
  process.env["MESSAGE_VAULT_TEST_EVENTS"] ??
  fileURLToPath(new URL("../../../shared/data/commits.jsonl.gz", import.meta.url));

/** The real events, a JSON object a line. Where there are none the test passes, and says so: then this is undefined. */
export function readRealEvents(t: ExecutionContext): string[] | undefined {
  if (existsSync(file)) return gunzipSync(readFileSync(file)).toString().trimEnd().split("\n");
  t.log(`skipped: there is no ${file}; MESSAGE_VAULT_TEST_EVENTS may name one`);
  t.pass();
  return undefined;
}
