import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import test from "ava";
import {
  Health as HealthService,
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus as Serving,
  HealthCheckResponseSchema,
} from "../../gen/grpc/health/v1/health_pb.ts";
import { createClusterHandlers } from "../../src/rpc/cluster-service.ts";
import { methodPath } from "../../src/rpc/handlers.ts";
import { createHealth, publishHealthName } from "../../src/rpc/health.ts";
import { createReflection } from "../../src/rpc/reflection.ts";
import { createClusterView } from "../support/create-cluster-view.ts";
import { createRawClient, createRpcServer, readAll } from "../support/create-rpc-server.ts";

const run = promisify(execFile);
const buf = new URL("../../node_modules/.bin/buf", import.meta.url).pathname;

function encode(service: string): Uint8Array {
  return toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, { service }));
}

function decode(bytes: Buffer): Serving {
  return fromBinary(HealthCheckResponseSchema, bytes).status;
}

const check = methodPath(HealthService.method.check);
const watch = methodPath(HealthService.method.watch);

test("health - reads and publishes are told apart", async (t) => {
  const { server, address } = await createRpcServer(t, {});
  const health = createHealth();
  server.addLibraryService(health);
  const client = createRawClient(t, address);
  const ask = async (service: string) => decode(await client.unary(check, encode(service)));
  const all = () => Promise.all(["", "messagevault.v1.VaultService", publishHealthName].map(ask));
  t.deepEqual(await all(), [Serving.NOT_SERVING, Serving.NOT_SERVING, Serving.NOT_SERVING]);
  health.setServing(true);
  t.deepEqual(await all(), [Serving.SERVING, Serving.SERVING, Serving.NOT_SERVING]);
  health.setPublishing(true);
  t.deepEqual(await all(), [Serving.SERVING, Serving.SERVING, Serving.SERVING]);
  const error = (await t.throwsAsync(ask("other"))) as ServiceError;
  t.is(error.code, status.NOT_FOUND);
});

test("health - a watch sees changes, and a drain ends it with UNAVAILABLE well within the grace period", async (t) => {
  const { server, address } = await createRpcServer(t, {});
  const health = createHealth();
  server.addLibraryService(health);
  const call = createRawClient(t, address).serverStream(watch, encode(publishHealthName));
  const all = readAll(call);
  await new Promise((resolve) => call.once("data", resolve));
  health.setPublishing(true);
  await new Promise((resolve) => call.once("data", resolve));
  health.setPublishing(false);
  t.true(await server.drain(60_000));
  health.setPublishing(true);
  const { responses, status: end } = await all;
  t.deepEqual(responses.map(decode), [Serving.NOT_SERVING, Serving.SERVING, Serving.NOT_SERVING]);
  t.is(end.code, status.UNAVAILABLE);
});

test("reflection - buf curl lists every method and calls one with nothing but the address", async (t) => {
  const { server, address } = await createRpcServer(t, createClusterHandlers(createClusterView("n1")));
  server.addLibraryService(createHealth());
  server.addLibraryService(createReflection());
  const curl = ["curl", "--protocol", "grpc", "--http2-prior-knowledge"];
  const { stdout: methods } = await run(buf, [...curl, "--list-methods", `http://${address}`]);
  t.deepEqual(methods.trim().split("\n"), [
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/List",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "messagevault.v1.ClusterService/GetCluster",
    "messagevault.v1.ClusterService/TransferLeadership",
    "messagevault.v1.StreamService/CreateStream",
    "messagevault.v1.StreamService/DeleteStream",
    "messagevault.v1.StreamService/GetReadAccess",
    "messagevault.v1.StreamService/GetStream",
    "messagevault.v1.StreamService/ListStreams",
    "messagevault.v1.StreamService/TrimStream",
    "messagevault.v1.StreamService/UpdateStream",
    "messagevault.v1.VaultService/Publish",
    "messagevault.v1.VaultService/PublishStream",
    "messagevault.v1.VaultService/Subscribe",
  ]);
  for (const version of ["grpc-v1", "grpc-v1alpha"]) {
    const url = `http://${address}/messagevault.v1.ClusterService/GetCluster`;
    const { stdout } = await run(buf, [...curl, "--reflect-protocol", version, "-d", "{}", url]);
    t.like(JSON.parse(stdout), { node: { id: "n1", role: "NODE_ROLE_STANDBY" } });
  }
});
