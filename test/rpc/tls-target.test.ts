import { readFile } from "node:fs/promises";
import test from "ava";
import { systemClock } from "../../src/clock.ts";
import { createGrpcCaller } from "../../src/rpc/grpc-caller.ts";
import { toTlsTarget } from "../../src/rpc/tls-target.ts";
import { createRpcServer } from "../support/create-rpc-server.ts";

const folder = new URL("../golden/tls/", import.meta.url);
const connection = { connectTimeoutMs: 10_000, keepaliveMs: 20_000, keepaliveTimeoutMs: 10_000 };

test("TLS target - only addresses need another name", (t) => {
  for (const address of ["vault-1:50051", "localhost:1"])
    t.deepEqual(toTlsTarget(address), { options: {}, verify: {} });
  for (const address of ["127.0.0.1:50051", "[::1]:1"]) {
    t.truthy(toTlsTarget(address).options["grpc.ssl_target_name_override"]);
  }
});

test("TLS target - the certificate must be for the address, or the name, that was asked for", async (t) => {
  const certificate = await readFile(new URL("certificate.pem", folder));
  const key = await readFile(new URL("key.pem", folder));
  const path = "/test.Test/Method";
  const handlers = { [path]: { kind: "unary", handle: async (request: Buffer) => request } as const };
  const { server, address } = await createRpcServer(t, handlers, { tls: { certificate, key } });
  const elsewhere = await server.listen("127.0.0.2:0");
  const caller = createGrpcCaller({ ...connection, tls: { authorities: certificate } }, systemClock);
  t.teardown(() => caller.close());
  const call = (endpoint: string) => {
    return caller.unary(endpoint, path, Buffer.from("x"), { signal: new AbortController().signal });
  };
  t.is((await call(address)).toString(), "x");
  t.is((await call(address.replace("127.0.0.1", "localhost"))).toString(), "x");
  await t.throwsAsync(call(elsewhere));
});
