import test from "ava";
import { createRandom, percentilesOf, quantile, spreadOf, sumAtRandom } from "../../bench/statistics.ts";

test("spread - median and quartiles lie between neighbours", (t) => {
  t.deepEqual(spreadOf([4, 1, 3, 2]), { median: 2.5, q1: 1.75, q3: 3.25, min: 1, max: 4, count: 4 });
  t.deepEqual(spreadOf([7]), { median: 7, q1: 7, q3: 7, min: 7, max: 7, count: 1 });
});

test("spread - of nothing is no number", (t) => {
  const { median, count } = spreadOf([]);
  t.is(median, Number.NaN);
  t.is(count, 0);
});

test("quantile - the ends are the first and the last value", (t) => {
  t.is(quantile([10, 20, 30], 0), 10);
  t.is(quantile([10, 20, 30], 1), 30);
});

test("percentiles - do not depend on the order, and sort by number", (t) => {
  const values = Array.from({ length: 1001 }, (_, i) => 1000 - i);
  t.deepEqual(percentilesOf(values), { p50Ms: 500, p90Ms: 900, p99Ms: 990, p999Ms: 999 });
});

test("random numbers - are the same in each run, and spread from 0 to 1", (t) => {
  const first = createRandom(7);
  const second = createRandom(7);
  const values = Array.from({ length: 10_000 }, () => first());
  t.deepEqual(
    values,
    Array.from({ length: 10_000 }, () => second()),
  );
  t.true(values.every((value) => value >= 0 && value < 1));
  const { median } = spreadOf(values);
  t.true(Math.abs(median - 0.5) < 0.02, String(median));
});

test("sums at random - take one value of each list", (t) => {
  const sums = sumAtRandom([[1, 2], [10], [100]], 500, createRandom());
  t.is(sums.length, 500);
  t.deepEqual(
    [...new Set(sums)].toSorted((a, b) => a - b),
    [111, 112],
  );
});
