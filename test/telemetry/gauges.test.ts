import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import test from "ava";
import { systemClock } from "../../src/clock.ts";
import { createHistograms } from "../../src/telemetry/histograms.ts";
import { createOtelMetrics } from "../../src/telemetry/otel-metrics.ts";
import { createPrometheusExporter } from "../../src/telemetry/prometheus-exporter.ts";

test("gauges - what is not told any more - is not scraped any more, and counters stay", async (t) => {
  const histograms = createHistograms({ name: "test" }, systemClock);
  const exporter = createPrometheusExporter(histograms);
  const meters = new MeterProvider({ readers: [exporter] });
  const metrics = createOtelMetrics({ meter: meters.getMeter("test"), histograms }, 10);
  metrics.counter("messagevault.fences.lost").add(3);
  const end = metrics.observe("messagevault.lease.renewal.age", (report) => report(12));
  const scrape = async () => {
    const { resourceMetrics } = await exporter.collect();
    return new PrometheusSerializer("", false, undefined, false, true).serialize(resourceMetrics);
  };
  for (let i = 0; i < 2; i++) t.regex(await scrape(), /^messagevault_lease_renewal_age_seconds 12$/m);
  end();
  for (let i = 0; i < 2; i++) {
    const text = await scrape();
    t.notRegex(text, /messagevault_lease_renewal_age_seconds/);
    t.regex(text, /^messagevault_fences_lost_total 3$/m);
  }
  await meters.shutdown();
});
