import test from "ava";
import { isDisabled, readAskedSignals } from "../../src/telemetry/asked-signals.ts";

const cases: Readonly<Record<string, readonly [Record<string, string>, metrics: boolean, traces: boolean]>> = {
  "nothing is set": [{}, false, false],
  "an endpoint": [{ OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:4318" }, true, true],
  "an endpoint for traces": [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://c:4318" }, false, true],
  "an endpoint for metrics": [{ OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: "http://c:4318" }, true, false],
  "an exporter": [{ OTEL_METRICS_EXPORTER: "prometheus" }, true, false],
  "an endpoint, and none for one signal": [
    { OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:4318", OTEL_TRACES_EXPORTER: "none" },
    true,
    false,
  ],
  "all is disabled": [{ OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:4318", OTEL_SDK_DISABLED: "TRUE" }, false, false],
  "empty values": [{ OTEL_EXPORTER_OTLP_ENDPOINT: "", OTEL_TRACES_EXPORTER: " " }, false, false],
};

for (const [name, [environment, metrics, traces]] of Object.entries(cases)) {
  test(`telemetry variables - ${name} - asks for what a user expects`, (t) => {
    t.deepEqual(readAskedSignals(environment), { metrics, traces });
    t.is(isDisabled(environment), "OTEL_SDK_DISABLED" in environment);
  });
}
