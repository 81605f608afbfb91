import { connect } from "node:net";
import { once } from "node:events";
import test from "ava";
import type { ExecutionContext } from "ava";

import { openHttpPort } from "../src/http-port.ts";
import type { HttpPortSources } from "../src/http-port.ts";
import { createLog } from "../src/create-log.ts";
import { silentLog } from "../src/log.ts";
import { createVault } from "./support/create-vault.ts";

async function openPort(t: ExecutionContext, sources: Partial<HttpPortSources> = {}, log = silentLog) {
  const port = await openHttpPort("127.0.0.1", 0, { hindrance: () => Promise.resolve(undefined), ...sources }, log);
  t.teardown(() => port.close());
  return `http://${port.address}`;
}

async function ask(url: string, method = "GET"): Promise<[status: number, text: string]> {
  const response = await fetch(url, { method });
  return [response.status, await response.text()];
}

test("http port - tells whether this node lives and is ready", async (t) => {
  let why: string | undefined = "no leader is known";
  const url = await openPort(t, { hindrance: () => Promise.resolve(why) });
  t.deepEqual(await ask(`${url}/livez`), [200, "ok\n"]);
  t.deepEqual(await ask(`${url}/readyz`), [503, "not ready: no leader is known\n"]);
  why = undefined;
  t.deepEqual(await ask(`${url}/readyz?verbose`), [200, "ok\n"]);
  t.deepEqual(await ask(`${url}/readyz`, "HEAD"), [200, ""]);
});

test("http port - serves metrics as Prometheus reads them, or says that there are none", async (t) => {
  const url = await openPort(t, { metrics: () => Promise.resolve("up 1\n") });
  const response = await fetch(`${url}/metrics`);
  t.is(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  t.is(await response.text(), "up 1\n");
  t.is((await ask(`${await openPort(t)}/metrics`))[0], 404);
});

test("http port - what it does not have, or does not do, is refused", async (t) => {
  const url = await openPort(t);
  t.deepEqual(await ask(url), [404, "there are /livez, /readyz and /metrics\n"]);
  t.is((await ask(`${url}/livez`, "POST"))[0], 405);
});

test("http port - a source that fails is a 500 without its message, which is logged", async (t) => {
  const lines: string[] = [];
  const log = createLog("info", "json", { write: (line) => lines.push(line) });
  const url = await openPort(t, { metrics: () => Promise.reject(new Error("broken")) }, log);
  t.deepEqual(await ask(`${url}/metrics`), [500, "failed; the log says why\n"]);
  t.regex(lines.join(), /"path":"\/metrics".*broken/);
});

test("http port - one that is taken is an error that says what to do", async (t) => {
  const url = new URL(await openPort(t));
  const sources = { hindrance: () => Promise.resolve(undefined) };
  const opening = openHttpPort("127.0.0.1", Number(url.port), sources, silentLog);
  await t.throwsAsync(opening, { message: /another process listens there: choose another port/ });
});

test("http port - closing it cuts off who is connected", async (t) => {
  const port = await openHttpPort("127.0.0.1", 0, { hindrance: () => Promise.resolve(undefined) }, silentLog);
  const socket = connect(Number(port.address.split(":")[1]), "127.0.0.1");
  await once(socket, "connect");
  const closed = once(socket, "close");
  socket.write("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
  await once(socket, "data");
  await port.close();
  await closed;
  t.pass();
});

test("http port - a running vault is ready, and has no such port unless it is told to", async (t) => {
  const vault = await createVault(t, { httpPort: 0 });
  t.deepEqual(await ask(`http://${vault.httpAddress}/readyz`), [200, "ok\n"]);
  t.deepEqual(await ask(`http://${vault.httpAddress}/livez`), [200, "ok\n"]);
  await vault.close();
  await t.throwsAsync(fetch(`http://${vault.httpAddress}/livez`));
  t.is((await createVault(t)).httpAddress, undefined);
});
