/**
 * `npm run check`: everything about the sources that can be judged without running the vault.
 *
 * The API is compared with test/golden/api-v1.binpb, the API as it was last released. `npm run release-api` renews that
 * file; it is run at each release, and never to silence this check.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { runSteps } from "./run-steps.ts";
import { checkSettingsTable } from "./settings-table.ts";

const releasedApi = "test/golden/api-v1.binpb";

async function checkGenerated(): Promise<void> {
  const fresh = await mkdtemp(join(tmpdir(), "message-vault-gen-"));
  try {
    await promisify(execFile)("buf", ["generate", "-o", fresh]);
    const [expected, committed] = await Promise.all([readTree(join(fresh, "gen")), readTree("gen")]);
    const stale = [...new Set([...expected.keys(), ...committed.keys()])].filter(
      (name) => expected.get(name) !== committed.get(name),
    );
    if (stale.length > 0) throw new Error(`run npm run generate; not as proto/ says:\n${stale.join("\n")}`);
  } finally {
    await rm(fresh, { recursive: true });
  }
}

async function readTree(directory: string): Promise<Map<string, string>> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const names = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const files = names.map(async (name) => [name.slice(directory.length + 1), await readFile(name, "utf8")] as const);
  return new Map(await Promise.all(files));
}

const ok = await runSteps(
  [
    { name: "types", run: ["tsc", "-p", "tsconfig.json"] },
    { name: "lint", run: ["oxlint", "--type-aware", "--deny-warnings"] },
    { name: "format of TypeScript and JSON", run: ["oxfmt", "--check", "."] },
    { name: "format of the API", run: ["buf", "format", "-d", "--exit-code"] },
    { name: "lint of the API", run: ["buf", "lint"] },
    { name: "API compatible with the released one", run: ["buf", "breaking", "proto", "--against", releasedApi] },
    { name: "generated code up to date", run: checkGenerated },
    { name: "table of settings up to date", run: checkSettingsTable },
    { name: "architecture", run: ["ava", "test/architecture.test.ts"] },
  ],
  2,
);
process.exitCode = ok ? 0 : 1;
