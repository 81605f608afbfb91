import fs from "node:fs/promises";
import path from "node:path";
import test from "ava";
import { createDirectory } from "../support/create-directory.ts";
import { goldenDirectory, writeGolden } from "./golden-data.ts";
import { makeGolden } from "./scenario.ts";

/** What the vault of today writes. */
const version = "v1";

async function readFiles(directory: string): Promise<Map<string, string>> {
  const entries = await fs.readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(directory, path.join(entry.parentPath, entry.name)))
    .toSorted()
    .map(async (name) => [name, (await fs.readFile(path.join(directory, name))).toString("base64")] as const);
  return new Map(await Promise.all(files));
}

// Where this fails without meaning to, storage of vaults that are out there may be lost on an upgrade. Where other bytes
// are meant, the next version's data are made beside these (see make.ts), and `version` is theirs.
test("golden data - what the vault writes today is what it wrote, byte for byte", async (t) => {
  const fresh = path.join(await createDirectory(t), version);
  const { store, made } = await makeGolden(t);
  await writeGolden(store, made, fresh);
  const [wrote, writes] = [await readFiles(goldenDirectory(version)), await readFiles(fresh)];
  t.deepEqual([...writes.keys()], [...wrote.keys()]);
  t.deepEqual(
    [...writes].filter(([name, bytes]) => wrote.get(name) !== bytes).map(([name]) => name),
    [],
  );
});
