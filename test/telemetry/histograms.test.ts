import { AggregationTemporality, MeterProvider } from "@opentelemetry/sdk-metrics";
import type { DataPoint, Histogram, MetricProducer } from "@opentelemetry/sdk-metrics";
import test from "ava";
import { systemClock } from "../../src/clock.ts";
import { metrics } from "../../src/telemetry.ts";
import { createHistograms } from "../../src/telemetry/histograms.ts";
import { TestReader } from "../support/test-reader.ts";

const name = "messagevault.commit.duration";
const { CUMULATIVE, DELTA } = AggregationTemporality;

async function pointsOf(source: Pick<MetricProducer, "collect">): Promise<readonly DataPoint<Histogram>[]> {
  const { resourceMetrics } = await source.collect();
  const found = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
  return found.flatMap(({ dataPoints }) => dataPoints as DataPoint<Histogram>[]);
}

const timeOf = (point: DataPoint<Histogram> | undefined) => ({ startTime: point?.startTime, endTime: point?.endTime });

test("histograms - whatever is recorded - is counted as the SDK's own count it", async (t) => {
  const { unit, description, bounds } = metrics[name];
  const reader = new TestReader();
  const meter = new MeterProvider({ readers: [reader] }).getMeter("test");
  const advice = { explicitBucketBoundaries: [...bounds!] };
  const theirs = meter.createHistogram(name, { unit, description, advice });
  const histograms = createHistograms({ name: "test" }, systemClock);
  const kinds = [{}, { "error.type": "fenced" }];
  for (const values of kinds) {
    const ours = histograms.histogram(name, values);
    for (const value of [...bounds!, 0, 0.0011, 0.3, 29.999, 1e6, NaN]) {
      theirs.record(value, values);
      ours.record(value);
    }
  }
  const told = async (source: Pick<MetricProducer, "collect">) =>
    (await pointsOf(source)).map(({ attributes, value }) => ({ attributes, value }));
  const producer = histograms.producer(CUMULATIVE);
  for (let i = 0; i < 2; i++) t.deepEqual(await told(producer), await told(reader));
});

test("histograms - readers of changes - are each told once of what came since they asked", async (t) => {
  const time = { ms: 1_000_500 };
  const histograms = createHistograms({ name: "test" }, { now: () => time.ms });
  const histogram = histograms.histogram(name, {});
  const [one, other] = [histograms.producer(DELTA), histograms.producer(DELTA)];
  t.deepEqual(await pointsOf(one), [], "nothing was recorded");
  histogram.record(0.002);
  time.ms += 1000;
  const [first] = await pointsOf(one);
  t.deepEqual(timeOf(first), { startTime: [1000, 5e8], endTime: [1001, 5e8] });
  t.is(first?.value.count, 1);
  time.ms += 1000;
  histogram.record(20);
  const [second] = await pointsOf(one);
  t.deepEqual(timeOf(second), { startTime: [1001, 5e8], endTime: [1002, 5e8] });
  t.is(second?.value.count, 1);
  t.is(second?.value.sum, 20);
  t.deepEqual(await pointsOf(one), []);
  t.is((await pointsOf(other))[0]?.value.count, 2);
});

test("histograms - more sets of attributes than there may be - have one more for all others", async (t) => {
  const histograms = createHistograms({ name: "test" }, systemClock);
  for (let i = 0; i < 2010; i++) histograms.histogram(name, { "error.type": `${i}` }).record(1);
  const points = await pointsOf(histograms.producer(CUMULATIVE));
  t.is(points.length, 2000);
  const rest = points.find(({ attributes }) => attributes["otel.metric.overflow"] === true);
  t.is(rest?.value.count, 11);
});
