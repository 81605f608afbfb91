import test from "ava";

import { VaultError } from "../src/errors.ts";
import { createLog } from "../src/log.ts";
import type { LogFormat, LogLevel } from "../src/log.ts";

function createCollector(level: LogLevel, format: LogFormat) {
  const lines: string[] = [];
  return { lines, log: createLog(level, format, { write: (line) => lines.push(line) }) };
}

test("log - as JSON an event is one object a line", (t) => {
  const { log, lines } = createCollector("info", "json");
  log.info("stream opened", { stream: "orders", nextOffset: 7n });
  const { time, ...rest } = JSON.parse(lines[0] ?? "") as Record<string, unknown>;
  t.deepEqual(rest, { level: "info", event: "stream opened", stream: "orders", nextOffset: "7" });
  t.false(Number.isNaN(Date.parse(String(time))));
  t.true(lines[0]?.endsWith("}\n"));
});

test("log - as text an event is one line for a person", (t) => {
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

test("log - what is below the level is left out", (t) => {
  const { log, lines } = createCollector("warn", "json");
  log.debug("a");
  log.info("b");
  log.warn("c");
  log.error("d");
  t.is(lines.length, 2);
});

test("log - an error of operation has kind, detail and cause; any other its stack", (t) => {
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

test("log - secrets are blotted out of fields, errors and causes", (t) => {
  const { log, lines } = createCollector("info", "json");
  const connection = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hush==;EndpointSuffix=x";
  const url = "https://a.blob.core.windows.net/c?sv=1&sig=hush%3D&se=2";
  const error = new VaultError("denied", `no: ${url}`, {}, new Error(connection));
  log.error("failed", { connection, url, error, header: "authorization: Bearer hush" });
  t.notRegex(lines.join(), /hush/);
  t.regex(lines.join(), /AccountName=a;AccountKey=\*\*\*;EndpointSuffix=x/);
  t.regex(lines.join(), /sig=\*\*\*&se=2/);
});

test("log - a chain of causes that bites its tail is cut", (t) => {
  const { log, lines } = createCollector("info", "json");
  const error = new Error("a");
  error.cause = error;
  log.error("failed", { error });
  t.is(lines.length, 1);
});
