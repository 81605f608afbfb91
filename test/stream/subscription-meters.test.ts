import test from "ava";
import type { Engine } from "../../src/stream/engine.ts";
import type { StreamView } from "../../src/stream/stream-view.ts";
import { createSubscriptionMeters } from "../../src/stream/subscription-meters.ts";
import type { MetricName } from "../../src/telemetry.ts";
import { createTestTelemetry } from "../support/create-telemetry.ts";

/** Meters of which so many streams and subscriptions are named, and what they tell. */
function createMeters(streamsMax: number) {
  const told = createTestTelemetry({ streamsMax });
  const settings = { telemetryStreamsMax: streamsMax };
  const meters = createSubscriptionMeters({ telemetry: told.telemetry, settings } as Engine);
  return {
    meters,
    /** Begins a subscription that stands at `offset` of a stream that ends at 100, with a record at each second. */
    begin(stream: string, offset: number) {
      const standing = meters.begin(stream);
      standing.view = { nextOffset: 100n, lastTimestamp: 99_000, ended: false } as StreamView;
      standing.progress = { offset: BigInt(offset), timestamp: offset === 0 ? undefined : (offset - 1) * 1000 };
      return standing;
    },
    async values(name: MetricName) {
      return (await told.collect()).get(name)?.map(({ value }) => value);
    },
    async named(name: MetricName) {
      const series = (await told.collect()).get(name) ?? [];
      return series.map(({ attributes, value }) => [
        attributes["messaging.destination.name"],
        attributes["messagevault.subscription.id"],
        value,
      ]);
    },
  };
}

test("subscription meters - subscriptions that are behind - are told of by the worst, and one by one within the limit", async (t) => {
  const { begin, values, named } = createMeters(2);
  begin("orders", 100);
  begin("orders", 90);
  begin("others", 40);
  t.deepEqual(await values("messagevault.subscriptions.open"), [3]);
  t.deepEqual(await values("messagevault.subscriptions.caught_up"), [1]);
  t.deepEqual(await values("messagevault.subscriptions.lag.records.max"), [60]);
  t.deepEqual(await values("messagevault.subscriptions.lag.time.max"), [60]);
  t.deepEqual(await named("messagevault.subscription.lag.records"), [
    ["orders", 1, 0],
    ["orders", 2, 10],
  ]);
  t.deepEqual(await named("messagevault.subscription.lag.time"), [
    ["orders", 1, 0],
    ["orders", 2, 10],
  ]);
});

test("subscription meters - what has not begun, was sent nothing yet, or has ended - is told of as far as it is known", async (t) => {
  const { meters, begin, values, named } = createMeters(5);
  meters.begin("orders");
  begin("orders", 0);
  const ended = begin("orders", 10);
  t.deepEqual(await values("messagevault.subscriptions.lag.records.max"), [100]);
  t.deepEqual(await named("messagevault.subscription.lag.time"), [["orders", 3, 90]]);
  meters.end(ended);
  t.deepEqual(await values("messagevault.subscriptions.lag.time.max"), [0]);
  t.deepEqual(await named("messagevault.subscription.lag.records"), [["orders", 2, 100]]);
  t.deepEqual(await values("messagevault.subscriptions.open"), [2]);
});

test("subscription meters - a subscription that ends - leaves its number to the next, so that there are never more series", async (t) => {
  const { meters, begin, named } = createMeters(2);
  const told = async () =>
    (await named("messagevault.subscription.lag.records")).map(([, number, lag]) => [number, lag]);
  const first = begin("orders", 10);
  begin("orders", 20);
  begin("orders", 30);
  t.deepEqual(await told(), [
    [1, 90],
    [2, 80],
  ]);
  meters.end(first);
  t.deepEqual(await told(), [
    [2, 80],
    [1, 70],
  ]);
  for (let i = 0; i < 100; i++) {
    const short = begin("orders", 40);
    await told();
    meters.end(short);
  }
  t.deepEqual(await told(), [
    [2, 80],
    [1, 70],
  ]);
});

test("subscription meters - what is sent - is counted by stream", async (t) => {
  const { begin, named } = createMeters(1);
  begin("orders", 0).send([Buffer.alloc(10), Buffer.alloc(5)], 3);
  begin("others", 0).send([Buffer.alloc(1)], 1);
  t.deepEqual(await named("messagevault.delivery.records"), [
    ["orders", undefined, 3],
    ["(other)", undefined, 1],
  ]);
  t.deepEqual(await named("messagevault.delivery.bytes"), [
    ["orders", undefined, 15],
    ["(other)", undefined, 1],
  ]);
});
