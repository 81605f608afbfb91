/** The package as its users get it: packed, installed into an empty project, and used from there. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import test from "ava";
import type { ExecutionContext } from "ava";
import packageJson from "../package.json" with { type: "json" };
import { createDirectory } from "./support/create-directory.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = join(root, "node_modules", ".bin", "tsc");

const javaScript = `
import { connect, isKind } from "message-vault/client";
import { startTestVault } from "message-vault/testing";

const vault = await startTestVault();
const client = connect({ addresses: [vault.address] });
const publisher = client.publisher("orders");
const sent = publisher.send({ key: "a", value: "one" });
await publisher.close();
const { offset } = await sent;
const values = [];
for await (const record of client.subscribe("orders", { start: { at: "earliest" }, end: { at: "tail" } })) {
  values.push(record.keyText() + " " + record.text());
}
const refused = await client.getStream("none").catch((error) => isKind(error, "notFound"));
client.close();
await vault.close();
console.log(JSON.stringify({ offset: String(offset), values, refused }));
`;

const typeScript = `
import { connect, VaultError } from "message-vault/client";
import type { Delivery, MergedRecord, Publisher, RecordReceipt, StreamRecord, VaultClient } from "message-vault/client";
import { startTestVault } from "message-vault/testing";
import type { TestVault } from "message-vault/testing";

const vault: TestVault = await startTestVault({ settings: { recordBytesMax: 1024 } });
const client: VaultClient = connect({ addresses: [vault.address] });
const publisher: Publisher = client.publisher("orders", { lingerMs: 1 });
const receipt: RecordReceipt = await publisher.send({ value: "one" });
await publisher.close();
const range = { start: { at: "earliest" }, end: { at: "tail" } } as const;
const records: StreamRecord[] = [];
for await (const record of client.subscribe("orders", range)) records.push(record);
const batches: Delivery[] = [];
for await (const batch of client.subscribe("orders", range).batches()) batches.push(batch);
const merged: MergedRecord[] = [];
for await (const record of client.subscribeMerged(["orders"], range)) merged.push(record);
const lag: number | undefined = batches.at(-1)?.lag.seconds;
let kind = "";
try {
  await client.publish("orders", [{ value: "x".repeat(5000) }]);
} catch (error) {
  if (error instanceof VaultError) kind = error.kind;
}
await vault.close();
client.close();
console.log([receipt.offset, records.length, merged[0]?.record.text(), lag, kind].join(" "));
`;

// What must not compile, so that the types are known to be looked at.
const wrong = `
import { connect } from "message-vault/client";
connect({ addresses: "127.0.0.1:50051" });
`;

const strict = {
  module: "nodenext",
  target: "esnext",
  strict: true,
  types: ["node"],
  skipLibCheck: false,
  noEmit: true,
};

/** Packs the package and installs it into an empty project. */
async function install(t: ExecutionContext): Promise<string> {
  const directory = await createDirectory(t);
  const run = promisify(execFile);
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  await run("npm", ["pack", "--pack-destination", directory, ...quiet], { cwd: root });
  const tarball = readdirSync(directory).find((name) => name.endsWith(".tgz"))!;
  writeFileSync(join(directory, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const types = `@types/node@${packageJson.devDependencies["@types/node"]}`;
  const packages = [join(directory, tarball), types];
  await run("npm", ["install", "--prefer-offline", "--ignore-scripts", ...quiet, ...packages], { cwd: directory });
  return directory;
}

test.serial(
  "package - installs into an empty project and works from JavaScript, from TypeScript and as a command",
  async (t) => {
    t.timeout(10 * 60_000);
    const directory = await install(t);
    const run = (command: string, ...args: string[]) => promisify(execFile)(command, args, { cwd: directory });
    const bin = join(directory, "node_modules", ".bin", "message-vault");

    writeFileSync(join(directory, "main.js"), javaScript);
    const fromJavaScript = await run(process.execPath, "main.js");
    t.deepEqual(JSON.parse(fromJavaScript.stdout), { offset: "0", values: ["a one"], refused: true });

    writeFileSync(join(directory, "main.ts"), typeScript);
    writeFileSync(join(directory, "tsconfig.json"), JSON.stringify({ compilerOptions: strict, files: ["main.ts"] }));
    await run(tsc, "-p", ".");
    t.is((await run(process.execPath, "main.ts")).stdout, "0 1 one 0 invalid\n");
    writeFileSync(join(directory, "main.ts"), wrong);
    const refused = await t.throwsAsync<Error & { stdout: string }>(run(tsc, "-p", "."));
    t.regex(refused.stdout, /not assignable to type 'readonly string\[\]'/);

    t.is((await run(bin, "--version")).stdout, `${packageJson.version}\n`);
    const proto = (await run(bin, "proto")).stdout.trim();
    t.deepEqual(
      readFileSync(join(proto, "messagevault/v1/vault.proto")),
      readFileSync(join(root, "proto/messagevault/v1/vault.proto")),
    );
    await serve(t, bin, directory, async (address) => {
      t.is((await run(bin, "streams", "create", "orders", "--address", address)).stderr, "");
      t.regex((await run(bin, "streams", "list", "--address", address)).stdout, /^orders$/m);
    });
  },
);

test.serial("package - holds what is needed, and nothing else", async (t) => {
  t.timeout(10 * 60_000);
  const packed = await promisify(execFile)("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: root });
  const text = packed.stdout.slice(packed.stdout.indexOf("["));
  const [{ files }] = JSON.parse(text) as [{ files: { path: string }[] }];
  const places = new Set(files.map(({ path }) => /^(dist\/src|dist\/gen|proto)\//.exec(path)?.[1] ?? path));
  const expected = [
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "dist/gen",
    "dist/package.json",
    "dist/src",
    "package.json",
  ];
  t.deepEqual([...places].toSorted(), [...expected, "proto"]);
  t.deepEqual(
    files.filter(({ path }) => path.startsWith("dist/src/") && !/\.(js|d\.ts)$/.test(path)),
    [],
  );
});

/** Runs a vault by the installed command while `use` goes on. */
async function serve(
  t: ExecutionContext,
  bin: string,
  directory: string,
  use: (address: string) => Promise<void>,
): Promise<void> {
  const vault = spawn(bin, ["serve", "--storage", "memory:", "--port", "0"], {
    cwd: directory,
    stdio: ["ignore", "ignore", "pipe"],
  });
  t.teardown(() => vault.kill("SIGKILL"));
  for await (const line of createInterface({ input: vault.stderr })) {
    const address = /(127\.0\.0\.1:\d+)/.exec(line)?.[1];
    if (address === undefined) continue;
    await use(address);
    break;
  }
  vault.kill("SIGTERM");
  const [code] = await once(vault, "exit");
  t.is(code, 0);
}
