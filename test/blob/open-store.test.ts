import test from "ava";
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { checkStorage } from "../../src/blob/check-storage.ts";
import { contract } from "../../src/blob/contract.ts";
import { createMemoryStore } from "../../src/blob/memory.ts";
import { openStore } from "../../src/blob/open-store.ts";
import { systemClock } from "../../src/clock.ts";
import { VaultError } from "../../src/errors.ts";
import { createAzurite } from "../support/create-azurite.ts";
import { createClock } from "../support/create-clock.ts";
import { createDirectory } from "../support/create-directory.ts";
import { waitUntil } from "../support/wait-until.ts";

async function usable(store: BlobStore): Promise<boolean> {
  await store.put("x", Buffer.from("x"), "always");
  const got = await store.get("x");
  return got?.bytes.toString() === "x";
}

test("open store - memory and files", async (t) => {
  const directory = path.join(await createDirectory(t), "a", "b");
  for (const setting of ["memory:", `file:${directory}`]) {
    const store = await openStore(setting, systemClock);
    t.teardown(() => store.close());
    t.true(store.description.startsWith(setting));
    t.true(await usable(store));
  }
});

test("open store - a connection string with and without a container", async (t) => {
  const azurite = await createAzurite(t);
  const settings = [azurite.setting, azurite.setting.replace(/Container=.*/, ""), `${azurite.setting};container=other`];
  for (const setting of settings) {
    const store = await openStore(setting, systemClock);
    t.teardown(() => store.close());
    t.true(await usable(store));
  }
});

test("open store - anything else is invalid, with the forms there are, and without what was given", async (t) => {
  const settings = ["", "file:", "files:/x", "memory", "s3://bucket", "/data", "https://", "AccountKey=secret"];
  settings.push("https://a.blob.core.windows.net/", "https://a.blob.core.windows.net/c/blob", "https://a/b/Upper_Case");
  settings.push("https://a.blob.core.windows.net/c/d?sig=secret", "AccountName=a;AccountKey=secret;Container=A_B");
  for (const setting of settings) {
    const error = await t.throwsAsync(openStore(setting, systemClock), { instanceOf: VaultError }, setting);
    t.is(error.kind, "invalid", setting);
    t.regex(error.message, /file:PATH, memory:/);
    t.false(error.message.includes("secret"));
  }
});

test("open store - a connection string without its key is invalid, and tells no secret", async (t) => {
  const setting = "DefaultEndpointsProtocol=https;AccountName=a;SharedAccessSignature=";
  const error = await t.throwsAsync(openStore(setting, systemClock), { instanceOf: VaultError });
  t.is(error.kind, "invalid");
});

test("open store - azurite: runs an emulator that ends with the vault, also when that is killed", async (t) => {
  const script = `
    import { openStore } from "./src/blob/open-store.ts";
    import { systemClock } from "./src/clock.ts";
    const store = await openStore("azurite:", systemClock);
    await store.put("x", Buffer.from("x"), "always");
    console.log(store.description);
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  const [description] = (await once(createInterface(child.stdout), "line")) as [string];
  t.regex(description, /trying out only/);
  const endpoint = /http:[^,]+/.exec(description)?.[0] ?? "";
  t.true((await fetch(endpoint)).status >= 400);
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
  let answers = true;
  await waitUntil(() => {
    fetch(endpoint).catch(() => {
      answers = false;
    });
    return !answers;
  }, "the emulator is gone");
  t.false(answers);
});

test("check storage - a store that does what it must has no difference, and is left as it was", async (t) => {
  const clock = createClock();
  const store = createMemoryStore(clock);
  await store.put("mine", Buffer.from("kept"), "always");
  const results = await Array.fromAsync(checkStorage(store, clock));
  t.is(results.length, contract.length);
  t.deepEqual(
    results.filter(({ difference }) => difference !== undefined),
    [],
  );
  t.deepEqual((await store.list("", 10)).items, [{ name: "mine", sizeBytes: 4 }]);
});

test("check storage - names what a store does differently, and still cleans up", async (t) => {
  const clock = createClock();
  const store = createMemoryStore(clock);
  const lax: BlobStore = {
    ...store,
    put: (name, bytes, condition) =>
      store.put(name, bytes, condition !== "always" && "ifNoneMatch" in condition ? "always" : condition),
  };
  const results = await Array.fromAsync(checkStorage(lax, clock));
  const different = results.filter(({ difference }) => difference !== undefined);
  t.deepEqual(
    different.map(({ title }) => title),
    contract.map(({ title }) => title).filter((title) => title.startsWith("put under ifNoneMatch")),
  );
  t.is(different[0]?.difference, "again: expected alreadyExists, found done");
  t.deepEqual((await store.list("", 10)).items, []);
});
