import test from "ava";

import { VaultError } from "../src/errors.ts";
import { createLog } from "../src/create-log.ts";
import type { LogFormat, LogLevel } from "../src/log.ts";

function createCollector(level: LogLevel, format: LogFormat) {
  const lines: string[] = [];
  return { lines, log: createLog(level, format, { write: (line) => lines.push(line) }) };
}

test("create log - as JSON an event is one object a line", (t) => {
  const { log, lines } = createCollector("info", "json");
  log.info("stream opened", { stream: "orders", nextOffset: 7n });
  const { time, ...rest } = JSON.parse(lines[0] ?? "") as Record<string, unknown>;
  t.deepEqual(rest, { level: "info", event: "stream opened", stream: "orders", nextOffset: "7" });
  t.false(Number.isNaN(Date.parse(String(time))));
  t.true(lines[0]?.endsWith("}\n"));
});

test("create log - as text an event is one line for a person", (t) => {
  const { log, lines } = createCollector("info", "text");
  log.warn("stream closed", {
    stream: "orders",
    reason: "two words",
    error: new VaultError("fenced", "epoch 1\nis over"),
  });
  t.regex(
    lines[0] ?? "",
    /^\d\d:\d\d:\d\d\.\d{3} WARN {2}stream closed stream=orders reason="two words" error="epoch 1\\nis over"\n$/,
  );
});

test("create log - what is below the level is left out", (t) => {
  const { log, lines } = createCollector("warn", "json");
  log.debug("a");
  log.info("b");
  log.warn("c");
  log.error("d");
  t.is(lines.length, 2);
});

test("create log - an error of operation has kind, detail and cause; any other its stack", (t) => {
  const { log, lines } = createCollector("info", "json");
  const error = new VaultError("conflict", "too late", { condition: "etag" }, new Error("412"));
  log.error("failed", { error });
  const fields = JSON.parse(lines[0] ?? "") as { error: Record<string, unknown> & { cause: Record<string, unknown> } };
  t.is(fields.error["kind"], "conflict");
  t.deepEqual(fields.error["detail"], { condition: "etag" });
  t.is(fields.error["stack"], undefined);
  t.is(fields.error.cause["message"], "412");
  t.regex(String(fields.error.cause["stack"]), /log\.test/);
});

/** Secrets in all the places where storage, identity and exporters have them; each holds the word `hush`. */
const planted = {
  connectionString: "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hush/+a==;EndpointSuffix=x",
  sasString: "BlobEndpoint=https://a.example;SharedAccessSignature=sv=1&sig=hush%2Fa&se=2",
  sasUrl: "https://a.blob.example/c?sv=1&sig=hush%3D&se=2",
  sasFirst: "sig=hush%3D&se=2",
  sasWithinUrl: "https://x.example/?to=https%3A%2F%2Fa.blob.example%3Fsv%3D1%26sig%3Dhush",
  bearer: "authorization: Bearer hush.hush",
  sharedKey: "Authorization: SharedKey account:hush+/a=",
  bareHeader: "authorization=hush",
  jsonHeader: '{"authorization":"Bearer hush"}',
  token: "the token was Bearer hush-hush-hush-hush-hush-hush",
  form: "grant_type=client_credentials&client_secret=hush&scope=s",
  exporter: "http://user:hush@collector.example:4318/v1/traces",
};

for (const [place, text] of Object.entries(planted)) {
  test(`log - a secret is blotted out: ${place}`, (t) => {
    const { log, lines } = createCollector("info", "json");
    const cause = new VaultError("denied", `no: ${text}`, { resource: text }, new Error(text));
    log.info("failed", { text, list: [text], deep: { deeper: [{ text }] }, error: new Error("failed", { cause }) });
    t.notRegex(lines.join(), /hush/);
    t.true(lines.join().split("***").length > 5);
    t.is((JSON.parse(lines[0] ?? "") as Record<string, unknown>)["event"], "failed");
  });
}

test("create log - what tells where a secret was is kept", (t) => {
  const { log, lines } = createCollector("info", "json");
  const { connectionString: connection, sasUrl: url, exporter: endpoint } = planted;
  log.error("failed", { connection, url, endpoint });
  t.regex(lines.join(), /AccountName=a;AccountKey=\*\*\*;EndpointSuffix=x/);
  t.regex(lines.join(), /sig=\*\*\*&se=2/);
  t.regex(lines.join(), /user:\*\*\*@collector\.example:4318/);
});

test("create log - a field whose name says that it is a secret is not shown, whatever it looks like", (t) => {
  const { log, lines } = createCollector("info", "json");
  const names = ["authorization", "password", "clientSecret", "accessToken", "accountKey", "x-api-key", "Cookie"];
  log.info("sent", { headers: Object.fromEntries(names.map((name) => [name, "hush"])) });
  t.notRegex(lines.join(), /hush/);
  t.is(lines.join().split("***").length, names.length + 1);
});

test("create log - of bytes only their number is told", (t) => {
  const { log, lines } = createCollector("info", "json");
  const value = Buffer.from("hush");
  log.info("record", { value, records: [{ value }], view: new Uint8Array([104, 117, 115, 104]) });
  const { value: told, records, view } = JSON.parse(lines[0] ?? "") as Record<string, unknown>;
  t.deepEqual({ told, records, view }, { told: "4 bytes", records: [{ value: "4 bytes" }], view: "4 bytes" });
});

test("create log - a line within a span has its ids, one outside has none", (t) => {
  const lines: string[] = [];
  const ids = [{ traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7" }, undefined];
  const log = createLog("info", "json", { write: (line) => lines.push(line) }, () => ids.shift());
  log.info("within");
  log.info("outside", { stream: "s" });
  const [within, outside] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  t.like(within, { trace_id: "4bf92f3577b34da6a3ce929d0e0e4736", span_id: "00f067aa0ba902b7" });
  t.false("trace_id" in outside!);
});

test("create log - a field that bites its tail is cut", (t) => {
  const { log, lines } = createCollector("info", "json");
  const field: Record<string, unknown> = {};
  field["field"] = field;
  log.info("round", { field });
  t.is(lines.length, 1);
});

test("create log - a chain of causes that bites its tail is cut", (t) => {
  const { log, lines } = createCollector("info", "json");
  const error = new Error("a");
  error.cause = error;
  log.error("failed", { error });
  t.is(lines.length, 1);
});
