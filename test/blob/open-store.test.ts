import test from "ava";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { checkStorage } from "../../src/blob/check-storage.ts";
import { contract } from "../../src/blob/contract.ts";
import { createMemoryStore } from "../../src/blob/memory.ts";
import { openReader, openStore } from "../../src/blob/open-store.ts";
import { systemClock } from "../../src/clock.ts";
import { silentLog } from "../../src/log.ts";
import { VaultError } from "../../src/errors.ts";
import { createAzurite } from "../support/create-azurite.ts";
import { createClock } from "../support/create-clock.ts";
import { createDirectory } from "../support/create-directory.ts";
import { drive } from "../support/drive.ts";
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
    const store = await openStore(setting, systemClock, silentLog, { createContainer: true });
    t.teardown(() => store.close());
    t.true(await usable(store));
  }
});

test("open store - the emulator's own setting goes to its port, without TLS", async (t) => {
  const error = await t.throwsAsync(openStore("UseDevelopmentStorage=true;Container=none", systemClock));
  t.false(String(error).includes("Protocol"), "whether an emulator runs there or not");
});

test("open store - a container that is missing is named, and not made unless that is asked for", async (t) => {
  const azurite = await createAzurite(t);
  const setting = azurite.setting.replace(/Container=.*/, "Container=mistyped");
  for (const _ of [1, 2]) {
    const error = await t.throwsAsync(openStore(setting, systemClock), { instanceOf: VaultError });
    t.is(error.kind, "notFound");
    t.regex(error.message, /no container mistyped in devstoreaccount1: check its name, or make it first/);
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

test("open reader - files, beside the store that has them", async (t) => {
  const directory = path.join(await createDirectory(t), "data");
  const store = await openStore(`file:${directory}`, systemClock);
  t.teardown(() => store.close());
  await store.put("x", Buffer.from("x"), "always");
  const reader = await openReader(`file:${directory}`, systemClock);
  t.is((await reader.get("x"))?.bytes.toString(), "x");
  await reader.close();
});

test("open reader - a container that is there, and none that is not: it is not made", async (t) => {
  const azurite = await createAzurite(t);
  for (const _ of [1, 2]) {
    const setting = azurite.setting.replace(/Container=.*/, "Container=none");
    const missing = await t.throwsAsync(openReader(setting, systemClock), { instanceOf: VaultError });
    t.is(missing.kind, "notFound");
  }
  const store = await azurite.open();
  await store.put("x", Buffer.from("x"), "always");
  const reader = await openReader(azurite.setting, systemClock);
  t.is((await reader.get("x"))?.bytes.toString(), "x");
  await reader.close();
});

test("open reader - what ends with its vault, or is not there, is invalid, and nothing is made", async (t) => {
  const directory = await createDirectory(t);
  for (const setting of ["memory:", "azurite:", "file:", "s3://x", `file:${directory}/a`, `azurite:${directory}/a`]) {
    const error = await t.throwsAsync(openReader(setting, systemClock), { instanceOf: VaultError }, setting);
    t.is(error.kind, "invalid", setting);
  }
  t.deepEqual(await fs.readdir(directory), []);
});

test("open reader - an emulator's directory that a vault uses is left to it", async (t) => {
  const setting = `azurite:${path.join(await createDirectory(t), "data")}`;
  const store = await openStore(setting, systemClock);
  await store.put("x", Buffer.from("x"), "always");
  for (const open of [openReader, openStore]) {
    const error = await t.throwsAsync(open(setting, systemClock), { instanceOf: VaultError });
    t.is(error.kind, "unavailable");
    t.regex(error.message, /another vault runs/);
  }
  await store.close();
  const reader = await openReader(setting, systemClock);
  t.is((await reader.get("x"))?.bytes.toString(), "x");
  await reader.close();
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

test("open store - memory:azure is a model of Azure, with assumptions that can be set", async (t) => {
  const clock = createClock();
  const lines: unknown[] = [];
  const log = { ...silentLog, info: (event: string, fields = {}) => lines.push([event, fields]) };
  const setting = "memory:azure?latency-ms-median=50&latency-ms-p99=50.001";
  const store = await openStore(setting, clock, log);
  t.true(await drive(clock, usable(store)));
  t.true(Math.abs(clock.monotonic() - 100) < 1);
  await store.close();
  const [[event, fields]] = lines as [[string, object]];
  t.is(event, "modelled storage was asked for");
  t.like(fields, { requests: 2, throttled: 0, bytesWritten: 1, bytesRead: 1 });
  for (const query of ["latency=1", "latency-ms-median=0", "latency-ms-median=", "burst-seconds=x"]) {
    const error = await t.throwsAsync(openStore(`memory:azure?${query}`, clock), { instanceOf: VaultError });
    t.is(error.kind, "invalid");
    t.regex(error.message, /latency-ms-median, latency-ms-p99, /);
  }
});
