import test from "ava";
import type { Bar } from "../../bench/bars.ts";
import { bars, judgeBar } from "../../bench/bars.ts";
import { groups } from "../../bench/groups.ts";
import type { FigureName, Figures } from "../../bench/measurement.ts";

function samplesOf(figure: FigureName, values: Readonly<Record<string, readonly number[]>>): Map<string, Figures[]> {
  const entries = Object.entries(values);
  return new Map(entries.map(([name, list]) => [name, list.map((value) => ({ [figure]: value }))]));
}

const rate: Bar = {
  name: "speed",
  figure: "mbPerSecond",
  measured: "vault",
  limits: ["wire", "disk"],
  target: 0.75,
};

test("bar - the ratio is to the lower limit, round by round", (t) => {
  const samples = samplesOf("mbPerSecond", { vault: [50, 90, 120], wire: [100, 100, 150], disk: [300, 90, 400] });
  const result = judgeBar(rate, samples);
  t.is(result?.limitName, "wire");
  t.deepEqual(result?.ratio, { median: 0.8, q1: 0.65, q3: 0.8500000000000001, min: 0.5, max: 0.9, count: 3 });
  t.is(result?.measured, 90);
  t.is(result?.limit, 100);
  t.true(result?.met);
});

test("bar - of a time the longest limit counts, and the ratio is to be small", (t) => {
  const samples = samplesOf("p50Ms", { vault: [3], wire: [1], disk: [2] });
  const result = judgeBar({ ...rate, figure: "p50Ms", target: 1.4 }, samples);
  t.is(result?.limitName, "disk");
  t.is(result?.ratio.median, 1.5);
  t.false(result?.atLeast);
  t.false(result?.met);
});

test("bar - is not judged where it, or its limit, was not measured", (t) => {
  t.is(judgeBar(rate, samplesOf("mbPerSecond", { wire: [1], disk: [1] })), undefined);
  t.is(judgeBar(rate, samplesOf("mbPerSecond", { vault: [1] })), undefined);
  t.is(judgeBar(rate, samplesOf("mbPerSecond", { vault: [1], wire: [1] })), undefined);
});

test("bar - what each of them names is measured in one group, together", (t) => {
  for (const bar of bars) {
    const names = [bar.measured, ...bar.limits];
    t.true(
      groups.some(({ measurements }) => names.every((name) => measurements.includes(name))),
      bar.name,
    );
  }
});

test("measurement - no two have the same name", (t) => {
  const names = groups.flatMap(({ measurements }) => measurements);
  t.is(new Set(names).size, names.length);
});
