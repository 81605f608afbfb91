/** Secrets are planted wherever a vault meets some, it is brought to log all it can, and what it says is searched. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text as readText } from "node:stream/consumers";
import { Metadata } from "@grpc/grpc-js";
import test from "ava";
import type { ExecutionContext } from "ava";

import { PublishRequestSchema, VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import { azuriteConnectionString } from "../../src/blob/azurite.ts";
import { methodPath } from "../../src/rpc/handlers.ts";
import { encode } from "../support/call-vault.ts";
import { createAzurite } from "../support/create-azurite.ts";
import { createRawClient, readAll } from "../support/create-rpc-server.ts";
import { createStorageProxy } from "../support/create-storage-proxy.ts";
import { startVaultProcess } from "../support/start-vault-process.ts";
import { waitUntil } from "../support/wait-until.ts";

// The key that every Azurite has; here it stands for an account's.
const accountKey = /AccountKey=([^;]+)/.exec(azuriteConnectionString("http://127.0.0.1:1"))![1]!;
const planted = ["hush-key", "hush-value", "hush-header", "hush-token", "hush-exporter", "hush-password", accountKey];

/** Which of the planted secrets are in a text, as they are or in base64. */
function findSecrets(said: string): string[] {
  return planted.filter((secret) => said.includes(secret) || said.includes(Buffer.from(secret).toString("base64")));
}

/** A server that keeps all that it is sent. */
async function createSink(t: ExecutionContext) {
  const received: string[] = [];
  const server = createServer((request, response) => {
    void readText(request).then((body) => {
      received.push(`${request.url} ${body}`);
      response.setHeader("content-type", "application/json").end("{}");
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { received, host: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";

function createSecretRequest(stream: string, expectedOffset?: bigint) {
  const bytes = (name: string) => Buffer.from(name);
  const headers = [
    { name: "hush-header-name", value: bytes("hush-header") },
    { name: "traceparent", value: bytes(`00-${traceId}-00f067aa0ba902b7-01`) },
  ];
  const records = [{ key: bytes("hush-key"), value: bytes("hush-value"), headers }];
  return encode(PublishRequestSchema, { stream, records, ...(expectedOffset === undefined ? {} : { expectedOffset }) });
}

test("secrets - none is in what a vault logs, exports or tells by HTTP, whatever goes wrong", async (t) => {
  t.timeout(60_000);
  const azurite = await createAzurite(t);
  const proxy = await createStorageProxy(t, azurite.endpoint);
  const sink = await createSink(t);
  const storage = azurite.setting.replaceAll(azurite.endpoint, proxy.endpoint);
  const flags = ["--storage", storage, "--http-port", "0", "--log-level", "debug", "--settle-ms", "1s"];
  const vault = await startVaultProcess(t, flags, {
    OTEL_TRACES_EXPORTER: "otlp",
    OTEL_METRICS_EXPORTER: "otlp",
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://user:hush-password@${sink.host}`,
    OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20hush-exporter,api-key=hush-exporter",
    OTEL_BSP_SCHEDULE_DELAY: "100",
    OTEL_METRIC_EXPORT_INTERVAL: "200",
    OTEL_LOG_LEVEL: "debug",
  });
  const client = createRawClient(t, vault.endpoint);
  const metadata = new Metadata();
  metadata.set("authorization", "Bearer hush-token");
  metadata.set("traceparent", `00-${traceId}-00f067aa0ba902b7-01`);
  const publish = (request: Uint8Array) => {
    return client.unary(methodPath(VaultService.method.publish), request, {}, metadata);
  };
  await publish(createSecretRequest("orders"));
  await t.throwsAsync(publish(createSecretRequest("orders", 7n)));
  await t.throwsAsync(publish(createSecretRequest("hush value")));
  await t.throwsAsync(publish(Buffer.from("hush-value")));
  const request = encode(VaultService.method.subscribe.input, {
    stream: "orders",
    start: { case: "earliest", value: {} },
    end: { case: "untilTail", value: {} },
  });
  await readAll(client.serverStream(methodPath(VaultService.method.subscribe), request));
  // Storage refuses, and answers with what a careless proxy would: what the request itself was signed with.
  const text = `Authorization: Bearer hush-token; AccountKey=${accountKey}`;
  const refusal = { answer: 403, code: "AuthenticationFailed", text };
  proxy.inject(refusal, 3, ({ method }) => method === "PUT");
  await t.throwsAsync(publish(createSecretRequest("orders")));
  await waitUntil(() => vault.log().includes("commit failed"), "a failed commit is logged");
  await proxy.close();
  await t.throwsAsync(publish(createSecretRequest("orders")));

  const told = await Promise.all(
    ["metrics", "readyz", "livez"].map(async (path) => (await fetch(`http://${vault.http}/${path}`)).text()),
  );
  await waitUntil(() => sink.received.some((line) => line.startsWith("/v1/traces")), "traces are sent");
  await waitUntil(() => sink.received.some((line) => line.startsWith("/v1/metrics")), "metrics are sent");
  await vault.kill("SIGTERM");
  t.deepEqual(findSecrets(vault.log()), []);
  t.deepEqual(findSecrets(told.join("\n")), []);
  t.deepEqual(findSecrets(sink.received.join("\n")), []);
  // What was logged within the traced calls tells so.
  const failure = vault
    .log()
    .split("\n")
    .find((line) => line.includes('"commit failed"'))!;
  t.regex(failure, /"trace_id":"[0-9a-f]{32}","span_id":"[0-9a-f]{16}"/);
});

const refusedSettings = {
  "an account key": (endpoint: string) => azuriteConnectionString(endpoint).replace(accountKey, "aHVzaC12YWx1ZQ=="),
  "a SAS": (endpoint: string) =>
    `${endpoint}/devstoreaccount1/test?sv=2024-11-04&se=2030-01-01&sp=racwl&sig=hush-value`,
  "a setting that makes no sense": () => "azuer:?key=hush-value&AccountKey=hush-value",
};

for (const [what, setting] of Object.entries(refusedSettings)) {
  test(`secrets - a start that fails does not tell ${what}`, async (t) => {
    const azurite = await createAzurite(t);
    const flags = ["--storage", setting(azurite.endpoint), "--log-level", "debug"];
    const error = await t.throwsAsync(startVaultProcess(t, flags));
    t.regex(error?.message ?? "", /error/);
    t.notRegex(error?.message ?? "", /hush-value|aHVzaC12YWx1ZQ/);
  });
}
