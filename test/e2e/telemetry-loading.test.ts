import test from "ava";
import type { ExecutionContext } from "ava";
import { findFreePort } from "../support/find-free-port.ts";
import { startVaultProcess } from "../support/start-vault-process.ts";

// Tells of each module of OpenTelemetry that is loaded.
const spy = `
import { registerHooks } from "node:module";
registerHooks({
  load(url, context, next) {
    if (url.includes("@opentelemetry/")) process.stderr.write("loaded " + url + "\\n");
    return next(url, context);
  },
});`;

async function startSpied(t: ExecutionContext, args: readonly string[], environment: Record<string, string> = {}) {
  const options = `--import=data:text/javascript,${encodeURIComponent(spy)}`;
  const vault = await startVaultProcess(t, ["--storage", "memory:", ...args], {
    NODE_OPTIONS: options,
    ...environment,
  });
  t.teardown(() => vault.kill("SIGTERM"));
  return vault;
}

test("telemetry - off - nothing of OpenTelemetry is loaded", async (t) => {
  const vault = await startSpied(t, [], { OTEL_SERVICE_NAME: "orders", OTEL_TRACES_EXPORTER: "none" });
  t.is(await vault.kill("SIGTERM"), 0);
  t.notRegex(vault.log(), /loaded/);
});

test("telemetry - disabled - nothing of OpenTelemetry is loaded, and the HTTP port has no metrics", async (t) => {
  const environment = { OTEL_SDK_DISABLED: "true", OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1" };
  const vault = await startSpied(t, ["--http-port", "0"], environment);
  t.is((await fetch(`http://${vault.http}/metrics`)).status, 404);
  t.is(await vault.kill("SIGTERM"), 0);
  t.notRegex(vault.log(), /loaded/);
});

for (const detectors of ["all", "env,process"]) {
  test(`telemetry - an HTTP port, detectors ${detectors} - has metrics, with who the vault is and without its command line`, async (t) => {
    const environment = {
      OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test",
      OTEL_NODE_RESOURCE_DETECTORS: detectors,
    };
    const vault = await startSpied(t, ["--http-port", "0"], environment);
    t.regex(vault.log(), /loaded .*@opentelemetry/);
    t.notRegex(vault.log(), /loaded .*(otlp|grpc-exporter|instrumentation)/, "only what is asked for");
    const text = await (await fetch(`http://${vault.http}/metrics`)).text();
    const target = /^target_info.*$/m.exec(text)?.[0] ?? "";
    t.regex(target, /service_name="message-vault"/);
    t.regex(target, /deployment_environment_name="test"/);
    t.notRegex(target, /process_command|memory:/);
    t.regex(text, /^messagevault_leader_leads 1$/m);
    t.is(await vault.kill("SIGTERM"), 0);
  });
}

test("telemetry - Prometheus by the standard variables - is served where they say", async (t) => {
  const port = await findFreePort(t);
  const vault = await startSpied(t, [], {
    OTEL_METRICS_EXPORTER: "prometheus",
    OTEL_EXPORTER_PROMETHEUS_HOST: "127.0.0.1",
    OTEL_EXPORTER_PROMETHEUS_PORT: String(port),
  });
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  t.regex(text, /^messagevault_leader_leads 1$/m);
  t.is(await vault.kill("SIGTERM"), 0);
});
