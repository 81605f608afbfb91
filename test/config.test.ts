import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "ava";

import { defaultConfig, describeSettings, loadConfig } from "../src/config.ts";
import { VaultError } from "../src/errors.ts";

type Flags = Parameters<typeof loadConfig>[0];
type Environment = Parameters<typeof loadConfig>[1];

function problems(flags: Flags, environment: Environment = {}): string {
  try {
    loadConfig(flags, environment);
  } catch (error) {
    if (error instanceof VaultError && error.kind === "invalid") return error.message;
    throw error;
  }
  return "";
}

test("config - without flags and variables has the defaults, and cannot be changed", (t) => {
  t.is(defaultConfig.storage, "file:./data");
  t.is(defaultConfig.port, 50_051);
  t.is(defaultConfig.recordBytesMax, 1024 ** 2);
  t.is(defaultConfig.advertisedEndpoint, undefined);
  t.true(Object.isFrozen(defaultConfig));
});

test("config - a flag goes before a variable, and a variable before the default", (t) => {
  const environment = { MESSAGE_VAULT_PORT: "1", MESSAGE_VAULT_LINGER_MS: "2s" };
  const config = loadConfig({ port: "2" }, environment);
  t.is(config.port, 2);
  t.is(config.lingerMs, 2000);
});

test("config - sizes, times, switches and values that are typed already are read", (t) => {
  const flags = {
    recordBytesMax: "3.5MiB",
    retentionAgeMs: "7d",
    leaseSeconds: "1m",
    autoCreateStreams: false,
    port: 0,
  };
  const config = loadConfig(flags, { MESSAGE_VAULT_JSON: "true", MESSAGE_VAULT_HOST: "" });
  t.is(config.recordBytesMax, 3_670_016);
  t.is(config.retentionAgeMs, 604_800_000);
  t.is(config.leaseSeconds, 60);
  t.is(config.autoCreateStreams, false);
  t.is(config.port, 0);
  t.is(config.json, true);
  t.is(config.host, "127.0.0.1");
});

test("config - a bad value is an error with the flag, the value and what is allowed; all are told at once", (t) => {
  const text = problems({ port: "99999", lingerMs: "soon" }, { MESSAGE_VAULT_LOG_LEVEL: "loud" });
  t.deepEqual(text.split("\n"), [
    '--port: "99999" is not allowed; it must be 0 to 65535',
    'MESSAGE_VAULT_LOG_LEVEL: "loud" is not allowed; it must be debug, info, warn, error, silent',
    '--linger-ms: "soon" is not allowed; it must be 0 ms to 1 m',
  ]);
});

test("config - unknown names are errors that say what was meant", (t) => {
  t.is(problems({ prot: "1" }), "--prot: there is no such setting; did you mean --port?");
  t.regex(problems({}, { MESSAGE_VAULT_LINGERMS: "1" }), /did you mean MESSAGE_VAULT_LINGER_MS\?/);
  t.is(problems({ toString: "1" }), "--to-string: there is no such setting");
});

test("config - what Kubernetes sets for a service of this name is no setting", (t) => {
  const config = loadConfig(
    {},
    {
      MESSAGE_VAULT_PORT: "tcp://10.0.0.7:50051",
      MESSAGE_VAULT_SERVICE_HOST: "10.0.0.7",
      MESSAGE_VAULT_PORT_50051_TCP_ADDR: "10.0.0.7",
    },
  );
  t.is(config.port, 50_051);
});

test("config - a storage setting is never shown", (t) => {
  t.notRegex(problems({ storage: "" }) + problems({ storage: `AccountKey=hush${"x".repeat(9000)}` }), /hush/);
});

test("config - settings that contradict each other are errors", (t) => {
  t.regex(problems({ tlsCert: "a.pem" }), /--tls-cert and --tls-key go together/);
  t.regex(problems({ renewMs: "6s" }), /more than a third of --lease-seconds 15/);
  t.regex(problems({ pendingBytesMax: "8MiB" }), /--stream-pending-bytes-max is more/);
  t.regex(problems({ commitBytesMax: "1MiB" }), /at least 64 KiB more than --record-bytes-max/);
  t.regex(problems({ segmentBytes: "65537" }), /multiple of 4 KiB/);
});

test("config - every setting's default is allowed, described, and can be given by its flag and variable", (t) => {
  for (const row of describeSettings()) {
    t.true(row.description.endsWith("."), row.name);
    t.regex(row.flag, /^--[a-z]+(-[a-z]+)*$/);
    if (row.default === "none") continue;
    t.deepEqual(loadConfig({ [row.name]: row.default }, {}), defaultConfig, row.name);
    t.deepEqual(loadConfig({}, { [row.variable]: row.default }), defaultConfig, row.name);
  }
});

test("settings - each one is used by the code that it is for", async (t) => {
  const files = await readdir("src", { recursive: true });
  const others = files.filter((name) => name.endsWith(".ts") && !["settings.ts", "config.ts"].includes(name));
  const code = (await Promise.all(others.map((name) => readFile(join("src", name), "utf8")))).join("\n");
  for (const { name } of describeSettings()) t.regex(code, new RegExp(`\\b${name}\\b`), name);
});
