/** A client that knows nothing but the address: `buf curl`, with reflection. */
import { execFile, spawn } from "node:child_process";
import path from "node:path";
import test from "ava";
import type { ExecutionContext } from "ava";
import { createVault } from "../support/create-vault.ts";
import { waitUntil } from "../support/wait-until.ts";

const buf = path.resolve("node_modules/.bin/buf");

interface CurlResult {
  readonly code: number;
  /** What was answered, a message a line. */
  readonly messages: Record<string, unknown>[];
  readonly stderr: string;
}

function toArguments(endpoint: string, method: string, request: unknown): string[] {
  const transport = ["curl", "--protocol", "grpc", "--http2-prior-knowledge"];
  const data = request === undefined ? [] : ["--data", JSON.stringify(request)];
  return [...transport, ...data, `http://${endpoint}${method === "" ? "" : `/${method}`}`];
}

function curl(endpoint: string, method: string, request: unknown = {}, extra: string[] = []): Promise<CurlResult> {
  const given = [...toArguments(endpoint, method, method === "" ? undefined : request), ...extra];
  return new Promise((resolve) => {
    execFile(buf, given, { env: { ...process.env, NO_COLOR: "1" } }, (error, stdout, stderr) => {
      const code = error === null ? 0 : Number(error.code ?? 1);
      resolve({ code, messages: extra.length === 0 ? parseMessages(stdout) : [{ text: stdout }], stderr });
    });
  });
}

/** Messages are printed one after another, each as JSON over several lines that begin and end at the margin. */
function parseMessages(text: string): Record<string, unknown>[] {
  return text
    .split(/^(?=\{)/m)
    .filter((part) => part.trim() !== "")
    .map((part) => JSON.parse(part) as Record<string, unknown>);
}

function toBase64(text: string): string {
  return Buffer.from(text).toString("base64");
}

async function publishTwo(t: ExecutionContext, endpoint: string, nextOffset = "2"): Promise<void> {
  const records = ["hello", "world"].map((value) => ({ key: toBase64("k"), value: toBase64(value) }));
  const published = await curl(endpoint, "messagevault.v1.VaultService/Publish", { stream: "greetings", records });
  t.is(published.code, 0, published.stderr);
  t.like(published.messages[0], { nextOffset });
}

test("buf curl - lists the services and methods by reflection alone", async (t) => {
  const { endpoint } = await createVault(t);
  const listed = await curl(endpoint, "", undefined, ["--list-methods"]);
  t.is(listed.code, 0, listed.stderr);
  const methods = String(listed.messages[0]?.["text"]).trim().split("\n");
  for (const method of [
    "messagevault.v1.VaultService/Publish",
    "messagevault.v1.VaultService/PublishStream",
    "messagevault.v1.VaultService/Subscribe",
    "messagevault.v1.StreamService/CreateStream",
    "messagevault.v1.StreamService/GetStream",
    "messagevault.v1.StreamService/ListStreams",
    "messagevault.v1.StreamService/UpdateStream",
    "messagevault.v1.StreamService/DeleteStream",
    "messagevault.v1.StreamService/TrimStream",
    "messagevault.v1.StreamService/GetReadAccess",
    "messagevault.v1.ClusterService/GetCluster",
    "grpc.health.v1.Health/Check",
  ]) {
    t.true(methods.includes(method), `${method} in ${methods.join(" ")}`);
  }
});

test("buf curl - publishes, subscribes, lists and shows with nothing but the address", async (t) => {
  const { endpoint } = await createVault(t);
  await publishTwo(t, endpoint);
  const read = await curl(endpoint, "messagevault.v1.VaultService/Subscribe", {
    stream: "greetings",
    earliest: {},
    untilTail: {},
  });
  t.is(read.code, 0, read.stderr);
  const records = read.messages.flatMap((message) => (message["records"] ?? []) as Record<string, unknown>[]);
  t.deepEqual(
    records.map(({ value }) => Buffer.from(String(value), "base64").toString()),
    ["hello", "world"],
  );
  const list = await curl(endpoint, "messagevault.v1.StreamService/ListStreams");
  t.deepEqual(list.messages[0], { names: ["greetings"] });
  const shown = await curl(endpoint, "messagevault.v1.StreamService/GetStream", { name: "greetings" });
  t.like(shown.messages[0], { stream: { name: "greetings", nextOffset: "2" } });
  const cluster = await curl(endpoint, "messagevault.v1.ClusterService/GetCluster");
  t.like(cluster.messages[0], { leader: { endpoint, role: "NODE_ROLE_LEADER" } });
});

test("buf curl - publishes several requests on one PublishStream call", async (t) => {
  const { endpoint } = await createVault(t);
  const requests = [1, 2, 3].map((sequence) => ({
    stream: "s",
    records: [{ value: toBase64(`${sequence}`) }],
    producer: { id: "curl", sequence },
  }));
  const child = spawn(buf, [
    ...toArguments(endpoint, "messagevault.v1.VaultService/PublishStream", undefined),
    "-d",
    "@-",
  ]);
  t.teardown(() => child.kill());
  let output = "";
  child.stdout.on("data", (text: Buffer) => (output += text.toString()));
  child.stdin.end(requests.map((request) => JSON.stringify(request)).join("\n"));
  const code = await new Promise((resolve) => void child.once("close", resolve));
  t.is(code, 0);
  t.deepEqual(
    parseMessages(output).map(({ nextOffset }) => nextOffset),
    ["1", "2", "3"],
  );
});

test("buf curl - follows a stream while others publish", async (t) => {
  const { endpoint } = await createVault(t);
  await publishTwo(t, endpoint);
  const follow = { stream: "greetings", earliest: {} };
  const child = spawn(buf, toArguments(endpoint, "messagevault.v1.VaultService/Subscribe", follow));
  t.teardown(() => child.kill());
  let output = "";
  child.stdout.on("data", (text: Buffer) => (output += text.toString()));
  await waitUntil(() => output.includes(toBase64("world")), "the first records are there");
  await publishTwo(t, endpoint, "4");
  await waitUntil(() => output.split(toBase64("world")).length === 3, "the next ones too");
  t.pass();
});

test("buf curl - a refusal shows its code and details", async (t) => {
  const { endpoint } = await createVault(t);
  const refused = await curl(endpoint, "messagevault.v1.VaultService/Publish", { stream: "a/b" });
  t.not(refused.code, 0);
  t.regex(refused.stderr, /invalid_argument/);
  t.regex(refused.stderr, /google\.rpc\.BadRequest/);
});

test("buf curl - health tells that reads and publishes are served", async (t) => {
  const { endpoint } = await createVault(t);
  for (const service of ["", "messagevault.v1.VaultService", "messagevault.v1.VaultService/Publish"]) {
    const health = await curl(endpoint, "grpc.health.v1.Health/Check", { service });
    t.deepEqual(health.messages, [{ status: "SERVING" }], health.stderr);
  }
  const unknown = await curl(endpoint, "grpc.health.v1.Health/Check", { service: "nobody" });
  t.regex(unknown.stderr, /not_found/);
});
