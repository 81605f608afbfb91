import test from "ava";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import fs from "node:fs/promises";
import path from "node:path";
import { openFileStore } from "../../src/blob/file.ts";
import { systemClock } from "../../src/clock.ts";
import { VaultError } from "../../src/errors.ts";
import { createDirectory } from "../support/create-directory.ts";
import { createFileStore } from "../support/create-file-store.ts";

test("file store - a second one in the same directory is told who is there, and may open when the first closed", async (t) => {
  const { store, directory } = await createFileStore(t);
  const error = await t.throwsAsync(openFileStore(directory, systemClock), { instanceOf: VaultError });
  t.is(error.kind, "unavailable");
  t.true(error.message.includes(directory), error.message);
  t.regex(error.message, /another vault runs/);
  await store.close();
  const { store: second } = await createFileStore(t, { directory });
  await second.put("x", Buffer.from("x"), "always");
});

test("file store - SIGKILL gives the lock back, leases and versions end, and left-over files are cleared", async (t) => {
  const directory = path.join(await createDirectory(t), "data");
  const script = `
    import { openFileStore } from "./src/blob/file.ts";
    import { systemClock } from "./src/clock.ts";
    const store = await openFileStore(process.argv[1], systemClock);
    const etag = await store.createControl("cluster/leader", { epoch: "1" });
    await store.acquireLease("cluster/leader", "0".repeat(32), 60);
    console.log(etag);
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script, directory], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  let errors = "";
  child.stderr.on("data", (text: Buffer) => (errors += text.toString()));
  const [etag] = (await once(createInterface(child.stdout), "line")) as [string];
  const error = await t.throwsAsync(openFileStore(directory, systemClock), { instanceOf: VaultError });
  t.is(error.kind, "unavailable");
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
  t.is(errors, "", "no warning on standard error");
  await fs.writeFile(path.join(directory, "~tmp", "9"), "left over");
  const { store } = await createFileStore(t, { directory });
  t.deepEqual(await fs.readdir(path.join(directory, "~tmp")), []);
  const found = await store.properties("cluster/leader");
  t.deepEqual(found?.metadata, { epoch: "1" });
  t.false(found?.leased);
  t.not(found?.etag, etag);
  await t.throwsAsync(store.setMetadata("cluster/leader", { epoch: "2" }, etag), { instanceOf: VaultError });
});

test("file store - a directory that cannot be made is unavailable, with its name", async (t) => {
  const directory = await createDirectory(t);
  await fs.writeFile(path.join(directory, "file"), "");
  const target = path.join(directory, "file", "data");
  const error = await t.throwsAsync(openFileStore(target, systemClock), { instanceOf: VaultError });
  t.is(error.kind, "unavailable");
  t.true(error.message.includes(target));
});

test("file store - files of others in the directory are no blobs and stay", async (t) => {
  const { store, directory } = await createFileStore(t);
  await store.put("streams/Orders/stream.json", Buffer.from("{}"), "always");
  await fs.writeFile(path.join(directory, "streams", "READ ME"), "hello");
  const { items } = await store.list("", 10);
  t.deepEqual(
    items.map(({ name, sizeBytes }) => ({ name, sizeBytes })),
    [{ name: "streams/Orders/stream.json", sizeBytes: 2 }],
  );
  t.deepEqual((await fs.readdir(path.join(directory, "streams"))).toSorted(), ["READ ME", "orders~8"]);
  t.true(await store.remove("streams/Orders/stream.json"));
  t.deepEqual(await fs.readdir(path.join(directory, "streams")), ["READ ME"]);
});
