import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "ava";
import { fillDirectory } from "../../scripts/fill-directory.ts";
import { createDirectory } from "../support/create-directory.ts";

test("cache - several fill a directory at once - the first one's stays, whole, and nothing else", async (t) => {
  const parent = join(await createDirectory(t), "cache");
  const directory = join(parent, "prometheus");
  const all = Promise.withResolvers<void>();
  let filling = 0;
  const fill = (name: string) =>
    fillDirectory(directory, async (fresh) => {
      if (++filling === 3) all.resolve();
      await all.promise;
      for (const file of ["one", "two"]) await writeFile(join(fresh, file), name, { flag: "wx" });
    });
  await Promise.all([fill("a"), fill("b"), fill("c")]);
  t.deepEqual(await readdir(parent), ["prometheus"]);
  t.deepEqual(await readdir(directory), ["one", "two"]);
  const read = (file: string) => readFile(join(directory, file), "utf8");
  t.is(await read("one"), await read("two"));
});

test("cache - filling fails halfway - the directory is not there, and nothing is left", async (t) => {
  const parent = await createDirectory(t);
  const failing = fillDirectory(join(parent, "prometheus"), async (fresh) => {
    await writeFile(join(fresh, "one"), "");
    throw new Error("no network");
  });
  await t.throwsAsync(failing, { message: "no network" });
  t.deepEqual(await readdir(parent), []);
});
